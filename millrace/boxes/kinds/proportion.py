"""Which share of the picture's area the box around a thing covers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from random import Random

from millrace.boxes.annotation import Picture
from millrace.boxes.geometry import Selector, Selectors, area, one_by_one, one_value, single, the_thing
from millrace.boxes.kinds import nothing
from millrace.probing import answer_words
from millrace.probing.annotated import Truth
from millrace.qa.annotated import Reading
from millrace.qa.writing.answer_vocabulary import LADDERS, ladder_of, nearest_rung, rung_percent

CLAIM = "scale_proportion_estimation"
PIPELINE = "object_proportion"
SLOT = "PROPORTION"
ASPECT = "percent"
SUBJECT = {"TARGET_OBJECT": the_thing}

OFF_RUNG = 1.2
"""A share further than this factor from every rung is off the scale of the options."""


def subjects(picture: Picture, rng: Random, *, answerable: bool) -> Iterator[Selectors]:
    """Single things, or what is not there."""
    return one_by_one(picture, rng, "TARGET_OBJECT", answerable=answerable)


def truth(picture: Picture, selectors: Mapping[str, Selector]) -> Truth:
    """The exact share; how near an answer must be is the claim's tolerance."""
    thing = single(picture, selectors["TARGET_OBJECT"])
    if isinstance(thing, Truth):
        return thing
    return one_value(SLOT, f"{100 * area(thing.corners) / (picture.width * picture.height):.1f}%")


def readings(picture: Picture, selectors: Mapping[str, Selector], truth: Truth, rng: Random) -> list[Reading]:
    """The rungs of the scale that the share is on: each is twice the one before, so the neighbours are clearly wrong."""
    del rng
    if not truth.answerable:
        return [
            nothing(ASPECT, dict.fromkeys(ladder, "other_number"), f"percent {at}", presence=True)
            for at, ladder in enumerate(LADDERS)
        ]
    thing = single(picture, selectors["TARGET_OBJECT"])
    assert not isinstance(thing, Truth)
    share = 100 * area(thing.corners) / (picture.width * picture.height)
    rung = nearest_rung(share)
    if abs(math.log(share / rung_percent(rung))) > math.log(OFF_RUNG):
        return []
    ladder = ladder_of(rung)
    at = ladder.index(rung)
    others = [(number, other) for number, other in enumerate(ladder) if number != at]
    wrong = {other: "numeric_neighbour" if abs(number - at) == 1 else "other_number" for number, other in others}
    family = f"percent {LADDERS.index(ladder)}"
    return [Reading(ASPECT, family, (rung,), wrong | {"none": "absent_subject"}, sole=False, presence=True)]


def read_value(text: str) -> str | None:
    """The only percentage in the words."""
    return answer_words.read_value("percent", text)
