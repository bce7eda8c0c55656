"""How many things of a kind there are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from random import Random

from millrace.boxes.annotation import Picture
from millrace.boxes.geometry import Selector, Selectors, members, one_by_one, the_kind
from millrace.probing.annotated import NOT_ANSWERABLE, UNCLEAR, Truth
from millrace.qa.annotated import Reading

CLAIM = "counting_object_instances"
PIPELINE = "object_counting"
SLOT = "COUNT"
ASPECT = "count"
SUBJECT = {"OBJECT_TYPE": the_kind}

FEW = 7
"""Up to this many the wrong options are drawn from 0 to 7; above, from a window of four numbers around the right one."""


def subjects(picture: Picture, rng: Random, *, answerable: bool) -> Iterator[Selectors]:
    """Kinds of things, there or not."""
    return one_by_one(picture, rng, "OBJECT_TYPE", answerable=answerable)


def truth(picture: Picture, selectors: Mapping[str, Selector]) -> Truth:
    """Their number, where every one of them is known."""
    found = members(picture, selectors["OBJECT_TYPE"])
    if found is None:
        return UNCLEAR
    return Truth(True, True, {SLOT: str(len(found))}, {SLOT: (str(len(found)),)}) if found else NOT_ANSWERABLE


def readings(picture: Picture, selectors: Mapping[str, Selector], truth: Truth, rng: Random) -> list[Reading]:
    """Other numbers. The window's place is drawn, so that the right number is not always the one in the middle."""
    del picture, selectors
    right = int(truth.correct.get(SLOT, "0"))
    low = right - rng.randrange(4) if right > FEW else 0
    others = [number for number in range(low, low + 4 if right > FEW else FEW + 1) if number != right]
    wrong = {str(number): "numeric_neighbour" if abs(number - right) <= 2 else "other_number" for number in others}
    return [Reading(ASPECT, "count of few" if right <= FEW else "count of many", (str(right),), wrong)]


def read_value(text: str) -> str | None:
    """The only whole number in the words."""
    numbers = re.findall(r"\d+", text)
    if re.sub(r"[\s_]+", " ", text.strip().casefold()) in ("not related", "none"):
        return "0"
    return str(int(numbers[0])) if len(numbers) == 1 else None
