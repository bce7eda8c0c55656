"""Questions about digit scenes: `millrace.qa.annotated.QuestionRules` for the embedded world."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec

from millrace.digits.annotation import scene_of
from millrace.digits.questions import facts, verifier
from millrace.digits.questions.phrasing import Phrasing, load_phrasing
from millrace.qa.annotated import Reading
from millrace.qa.writing import answer_vocabulary

if TYPE_CHECKING:
    from millrace.lake.rows import LakeRow

PRESENCE = frozenset({"region", "percent", "point", "turn"})
"""Aspects of a single digit: of those it can also be asked whether it is there at all."""


def readings(pipeline: str, row: LakeRow, selectors: Mapping[str, facts.Selector]) -> list[Reading]:
    """See `millrace.digits.questions.facts.readings`."""
    found = facts.readings(pipeline, scene_of(row), selectors)
    return [msgspec.structs.replace(reading, presence=reading.aspect in PRESENCE) for reading in found]


def read_value(aspect: str, words: str) -> str | None:
    """The value of an aspect that words mean: a digit for `label`, all else as everywhere."""
    value = answer_vocabulary.read_value(aspect, words)
    if aspect != "label" or value == answer_vocabulary.NONE:
        return value
    numbers = re.findall(r"\d+", words)
    label = str(int(numbers[0])) if len(numbers) == 1 else ""
    return label if label in facts.LABELS else None


def wordings(language: str) -> Phrasing | None:
    """The words of a language, where it has a file in phrasings/."""
    there = (files("millrace.digits.questions") / "phrasings" / f"{language}.yaml").is_file()
    return load_phrasing(language) if there else None


def verify(item: Mapping[str, Any], row: LakeRow) -> verifier.Finding:
    """See `millrace.digits.questions.verifier.verify`."""
    return verifier.verify(item, row)
