"""Questions about digit scenes: `millrace.qa.annotated.QuestionRules`, over whatever kinds of claims `kinds/` holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from millrace.digits import phrasing, verifiers
from millrace.digits.annotation import scene_of
from millrace.digits.geometry import Selector, typed
from millrace.digits.kinds import claim_kinds
from millrace.digits.scenes.scene import Scene
from millrace.errors import ItemFailed
from millrace.qa.annotated import Reading
from millrace.records import outcome as records

if TYPE_CHECKING:
    from millrace.lake.rows import LakeRow
    from millrace.records.question import Item


def readings(pipeline: str, row: LakeRow, selectors: Mapping[str, records.Selector]) -> list[Reading]:
    """See `readings_of`."""
    return readings_of(pipeline, scene_of(row), typed(selectors))


def readings_of(pipeline: str, scene: Scene, selectors: Mapping[str, Selector]) -> list[Reading]:
    """What can be asked in `pipeline` about the subject that the failed claim was about, best first.

    Raises:
        ItemFailed: "not_computable" (an annotation is not enough), "unclear_subject" (it can't be told for certain).
    """
    kind = next((kind for kind in claim_kinds().values() if pipeline == kind.PIPELINE), None)
    if kind is None:
        raise ItemFailed("not_computable", f"digit scenes cannot answer what the pipeline '{pipeline}' asks")
    truth = kind.truth(scene, selectors)
    found = kind.readings(scene, selectors, truth) if truth.clear else []
    if not found:
        raise ItemFailed("unclear_subject", "the annotation gives no answer that is certainly right")
    return found


def read_value(aspect: str, words: str) -> str | None:
    """The value of an aspect that words mean; None when they mean none."""
    kind = next((kind for kind in claim_kinds().values() if aspect in kind.ASPECTS.values()), None)
    return None if kind is None else kind.read_value(aspect, words)


def wordings(language: str) -> phrasing.Phrasing | None:
    """See `millrace.digits.phrasing.load_phrasing`."""
    return phrasing.load_phrasing(language)


def verify(item: Item, row: LakeRow) -> verifiers.Finding:
    """See `millrace.digits.verifiers.verify`."""
    return verifiers.verify(item, row)
