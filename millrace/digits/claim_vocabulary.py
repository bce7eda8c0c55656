"""The closed vocabulary of the embedded world: everything that its baseline can say, and what is read as a digit.

The spellings of all but digits are the product's own (`millrace.probing.answer_words`).
"""

from __future__ import annotations

import math

from millrace.lake.places import DIRECTIONS, PLACES, POINTS, QUARTERS, REGIONS, TURNS
from millrace.probing import answer_words
from millrace.probing.answer_words import GAP, NOT_RELATED, NUMERALS, PHRASES, one_number, percent, question_words, words_of

__all__ = [
    "ANSWERS",
    "COUNTS",
    "DIGITS",
    "GAP",
    "KINDS",
    "NOT_RELATED",
    "NUMERALS",
    "PERCENTS",
    "PHRASES",
    "POINTS",
    "QUARTERS",
    "REGIONS",
    "SLOT_KINDS",
    "TURNS",
    "answer_index",
    "percent",
    "question_words",
    "read_value",
    "words_of",
]

DIGITS = tuple(f"digit {label}" for label in range(10))
PERCENTS = ("0.7%", "1%", "1.4%", "2%", "2.8%", "4%", "5.5%", "8%", "11%", "16%", "22%", "32%")
"""The shares of the picture that the embedded baseline can say: steps of about 1.4, so the nearest is within a fifth."""
COUNTS = ("1", "2", "3", "4", "5", "6")

KINDS: dict[str, tuple[str, ...]] = {
    "digit": DIGITS,
    "region": REGIONS,
    "direction": DIRECTIONS,
    "place": PLACES,
    "percent": PERCENTS,
    "count": COUNTS,
    "quarter": QUARTERS,
    "point": POINTS,
    "turn": TURNS,
    "presence": ("yes",),
}
"""Every kind of answer with its values. For `percent` any number is a value, and these are the ones the baseline uses."""

SLOT_KINDS = {"ENTITY_TYPE": "digit", **answer_words.SLOT_KINDS}
"""The kind of answer that a slot takes."""

ANSWERS: tuple[tuple[str, str], ...] = (*((kind, value) for kind, values in KINDS.items() for value in values), ("", NOT_RELATED))
"""Everything the embedded baseline can say, as (kind, value); abstaining is the last."""


def read_value(kind: str, text: str) -> str | None:
    """The value of `kind` that `text` means, in its one spelling; None when it means none or could mean two."""
    if kind == "digit":
        return one_number(words_of(text), "digit {}", limit=9, whole=True, counted=True)
    return answer_words.read_value(kind, text)


def answer_index(kind: str, value: str) -> int | None:
    """Where (kind, value) stands in `ANSWERS`; for a percentage the nearest step; None when it isn't there."""
    if kind == "percent":
        value = min(PERCENTS, key=lambda step: abs(math.log(percent(step) / max(percent(value), 0.01))))
    return _INDEX.get((kind, value))


_INDEX = {answer: place for place, answer in enumerate(ANSWERS)}
