"""Claims decided from digit scenes: `millrace.probing.annotated.ClaimRules`, over whatever kinds of claims `kinds/` holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from millrace.digits import kinds, subjects
from millrace.digits.annotation import scene_of
from millrace.digits.geometry import typed
from millrace.probing.annotated import Subject, Truth
from millrace.records.outcome import Selector

if TYPE_CHECKING:
    from millrace.lake.rows import LakeRow
    from millrace.probing.claims import Claim


def choose_subject(claim: Claim, row: LakeRow, *, seed: int, image_id: str, unanswerable_share: float) -> Subject | None:
    """See `millrace.digits.subjects.choose_subject`."""
    return subjects.choose_subject(claim, scene_of(row), seed=seed, image_id=image_id, unanswerable_share=unanswerable_share)


def truth_of(claim_id: str, row: LakeRow, selectors: Mapping[str, Selector]) -> Truth | None:
    """See `millrace.digits.kinds.truth_of`."""
    return kinds.truth_of(claim_id, scene_of(row), typed(selectors))


def read_value(slot: str, text: str) -> str | None:
    """The value that an answer in this slot means; None when it can't be read."""
    kind = next((kind for kind in kinds.claim_kinds().values() if slot in kind.ASPECTS), None)
    return None if kind is None else kind.read_answer(slot, text)


def factors(row: LakeRow) -> tuple[str, ...]:
    """What makes the picture hard, read off the finished picture when it was drawn."""
    return scene_of(row).factors
