"""Questions about boxes: `millrace.qa.annotated.QuestionRules`, over whatever kinds of claims `kinds/` holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING

import msgspec

from millrace.boxes import verifiers
from millrace.boxes.annotation import picture_of
from millrace.boxes.geometry import named, typed
from millrace.boxes.kinds import claim_kinds
from millrace.config import parse_yaml
from millrace.errors import ItemFailed
from millrace.plugins.loading import plugin_files
from millrace.qa.annotated import Reading
from millrace.qa.writing.answer_vocabulary import NONE
from millrace.qa.writing.wordings import Wordings
from millrace.records.outcome import Selector
from millrace.run.ids import random_for

if TYPE_CHECKING:
    from millrace.lake.rows import LakeRow
    from millrace.records.question import Item


class BoxWordings(Wordings, frozen=True, forbid_unknown_fields=True):
    """One language's words; subjects are said by their own label and adjectives."""

    def words(self, selectors: Mapping[str, Selector], rng: Random) -> dict[str, str]:
        """`{a}` and `{b}` for the things of a claim."""
        del rng
        said = {"b" if slot == "OBJECT_B" else "a": named(selector) for slot, selector in typed(selectors).items()}
        return {**said, "bare": said.get("a", "")}

    def name(self, aspect: str, value: str) -> str:
        """A value inside a sentence."""
        if aspect == "percent":
            return f"about {value}"
        return super().name(aspect, value)

    def say(self, template: str, words: Mapping[str, str], value: str = "") -> str:
        """A template with its words in place, as a sentence; a label keeps its spelling."""
        text = template.format(**words, value=value)
        return text[:1].upper() + text[1:]


def readings(pipeline: str, row: LakeRow, selectors: Mapping[str, Selector]) -> list[Reading]:
    """What can be asked in `pipeline` about the subject that the failed claim was about.

    Raises:
        ItemFailed: "not_computable", "unclear_subject".
    """
    kind = next((kind for kind in claim_kinds().values() if pipeline == kind.PIPELINE), None)
    if kind is None:
        raise ItemFailed("not_computable", f"boxes cannot answer what the pipeline '{pipeline}' asks")
    picture = picture_of(row)
    meant = typed(selectors)
    truth = kind.truth(picture, meant)
    found = []
    if truth.clear:
        found = kind.readings(picture, meant, truth, random_for(0, row.ref.sha256, pipeline, str(sorted(selectors.items()))))
    if not found:
        raise ItemFailed("unclear_subject", "the boxes give no answer that is certainly right")
    return found


def read_value(aspect: str, words: str) -> str | None:
    """The value of an aspect that a model's words mean; None when they mean none."""
    if re.sub(r"[\s_]+", " ", words.strip().strip(".").casefold()) in ("not related", "none", "n/a"):
        return "0" if aspect == "count" else NONE
    kind = next((kind for kind in claim_kinds().values() if aspect == kind.ASPECT), None)
    return None if kind is None else kind.read_value(words)


@lru_cache(maxsize=4)
def wordings(language: str) -> BoxWordings | None:
    """The words of a language, put together from all files in wordings/; None when they do not have it."""
    whole: dict[str, dict[str, object]] = {}
    for file in plugin_files("millrace.boxes.wordings", "yaml").values():
        parts = parse_yaml(file.read_text(encoding="utf-8")).get(language, {})
        for field, by_aspect in parts.items():
            whole.setdefault(field, {}).update(by_aspect)
    fields = (*Wordings.__struct_fields__,)
    return msgspec.convert({field: whole.get(field, {}) for field in fields}, BoxWordings) if whole else None


def verify(item: Item, row: LakeRow) -> verifiers.Finding:
    """See `millrace.boxes.verifiers.verify`."""
    return verifiers.verify(item, row)
