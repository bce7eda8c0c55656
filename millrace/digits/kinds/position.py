"""In which of nine parts of the picture a digit is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

from millrace.digits.claim_vocabulary import read_value as read_kind
from millrace.digits.geometry import BORDER_MARGIN, Selector, Selectors, centre_of, one_value, single
from millrace.digits.kinds import nothing
from millrace.digits.references import object_words, one_digit
from millrace.digits.scenes.scene import Scene
from millrace.lake.places import REGIONS
from millrace.probing.annotated import UNCLEAR, Truth
from millrace.qa.annotated import Reading
from millrace.qa.writing.answer_vocabulary import NONE, read_value

__all__ = ["ASPECTS", "CLAIM", "PIPELINE", "SUBJECT", "read_answer", "read_value", "readings", "subjects", "truth"]

CLAIM = "spatial_absolute_position"
PIPELINE = "object_position"
ASPECTS = {"ABSOLUTE_REGION": "region"}
SUBJECT = {"TARGET_OBJECT": object_words}


def subjects(scene: Scene, rng: Random, *, answerable: bool) -> Iterator[Selectors]:
    """One digit, there or not."""
    return one_digit(scene, rng, "TARGET_OBJECT", answerable=answerable)


def truth(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    """The part that holds the middle of its box, where that is not near a line between parts."""
    digit = single(scene, selectors["TARGET_OBJECT"])
    if isinstance(digit, Truth):
        return digit
    x, y = centre_of(digit, scene)
    if min(abs(place - line / 3) for place in (x, y) for line in (1, 2)) < BORDER_MARGIN:
        return UNCLEAR
    return one_value("ABSOLUTE_REGION", REGIONS[min(2, int(y * 3)) * 3 + min(2, int(x * 3))])


def readings(scene: Scene, selectors: Mapping[str, Selector], truth: Truth) -> list[Reading]:
    """Every other part, the neighbouring ones the more tempting."""
    del scene, selectors
    if not truth.answerable:
        return [nothing("region", dict.fromkeys(REGIONS, "other_region"), presence=True)]
    right = truth.correct["ABSOLUTE_REGION"]
    row, column = divmod(REGIONS.index(right), 3)
    wrong: dict[str, str] = {}
    for number, region in enumerate(REGIONS):
        away = abs(number // 3 - row) + abs(number % 3 - column)
        wrong |= {region: "neighbouring_region" if away == 1 else "other_region"} if away else {}
    return [Reading("region", "region", (right,), wrong | {NONE: "absent_subject"}, presence=True)]


def read_answer(slot: str, text: str) -> str | None:
    """One of the nine parts."""
    del slot
    return read_kind("region", text)
