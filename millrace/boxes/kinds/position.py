"""In which of nine parts of the picture a thing is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

from millrace.boxes.annotation import Picture
from millrace.boxes.geometry import BORDER_MARGIN, Selector, Selectors, centre, one_by_one, one_value, single, the_thing
from millrace.boxes.kinds import nothing
from millrace.lake.places import REGIONS
from millrace.probing import answer_words
from millrace.probing.annotated import UNCLEAR, Truth
from millrace.qa.annotated import Reading

CLAIM = "spatial_absolute_position"
PIPELINE = "object_position"
SLOT = "ABSOLUTE_REGION"
ASPECT = "region"
SUBJECT = {"TARGET_OBJECT": the_thing}


def subjects(picture: Picture, rng: Random, *, answerable: bool) -> Iterator[Selectors]:
    """Single things, or what is not there."""
    return one_by_one(picture, rng, "TARGET_OBJECT", answerable=answerable)


def truth(picture: Picture, selectors: Mapping[str, Selector]) -> Truth:
    """The part in which the middle of its box lies, away from every line between parts."""
    thing = single(picture, selectors["TARGET_OBJECT"])
    if isinstance(thing, Truth):
        return thing
    x, y = centre(thing)
    x, y = x / picture.width, y / picture.height
    if min(abs(place - line / 3) for place in (x, y) for line in (1, 2)) < BORDER_MARGIN:
        return UNCLEAR
    return one_value(SLOT, REGIONS[min(2, int(y * 3)) * 3 + min(2, int(x * 3))])


def readings(picture: Picture, selectors: Mapping[str, Selector], truth: Truth, rng: Random) -> list[Reading]:
    """The other parts, neighbouring ones as another kind of distractor than those further away."""
    del picture, selectors, rng
    if not truth.answerable:
        return [nothing(ASPECT, dict.fromkeys(REGIONS, "other_region"), presence=True)]
    at = REGIONS.index(truth.correct[SLOT])
    wrong: dict[str, str] = {}
    for number, region in enumerate(REGIONS):
        away = abs(number // 3 - at // 3) + abs(number % 3 - at % 3)
        wrong |= {region: "neighbouring_region" if away == 1 else "other_region"} if away else {}
    return [Reading(ASPECT, ASPECT, (REGIONS[at],), wrong | {"none": "absent_subject"}, presence=True)]


def read_value(text: str) -> str | None:
    """One of the nine parts."""
    return answer_words.read_value("region", text)
