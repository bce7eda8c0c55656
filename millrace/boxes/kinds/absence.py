"""Which quarter of the picture is free of a kind of thing that is elsewhere in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

from millrace.boxes.annotation import Picture, Thing
from millrace.boxes.geometry import OCCUPIED, Selector, Selectors, area, members, references, the_kind
from millrace.boxes.kinds import nothing
from millrace.lake.places import QUARTERS
from millrace.probing import answer_words
from millrace.probing.annotated import NOT_ANSWERABLE, UNCLEAR, Truth
from millrace.qa.annotated import Reading

CLAIM = "absence_negative_reasoning"
PIPELINE = "object_absence"
SLOT = "REGION_DESCRIPTION"
ASPECT = "area"
SUBJECT = {"OBJECT_TYPE": the_kind}


def subjects(picture: Picture, rng: Random, *, answerable: bool) -> Iterator[Selectors]:
    """Kinds of things that are there; unanswerable is a kind that is in every quarter."""
    del answerable
    ways = list(references(picture.boxes))
    rng.shuffle(ways)
    return ({"OBJECT_TYPE": way} for way in ways)


def truth(picture: Picture, selectors: Mapping[str, Selector]) -> Truth:
    """Every quarter into which no box reaches, where the others surely hold one."""
    found = members(picture, selectors["OBJECT_TYPE"])
    if not found:
        return UNCLEAR  # of something that is nowhere, every quarter is free: nothing worth asking
    held = [max(_share(thing, picture, quarter) for thing in found) for quarter in range(4)]
    if any(0 < share < OCCUPIED for share in held):
        return UNCLEAR
    free = tuple(name for name, share in zip(QUARTERS, held, strict=True) if share == 0)
    if not free:
        return NOT_ANSWERABLE
    named = free[sum(int(sum(thing.corners)) for thing in found) % len(free)]  # any of them: spread evenly over the quarters
    return Truth(True, True, {SLOT: named}, {SLOT: free})


def readings(picture: Picture, selectors: Mapping[str, Selector], truth: Truth, rng: Random) -> list[Reading]:
    """The quarters that hold one are wrong."""
    del picture, selectors, rng
    if not truth.answerable:
        return [nothing(ASPECT, dict.fromkeys(QUARTERS, "occupied_part"), "quarter")]
    free = truth.accepted[SLOT]
    taken = {name: "occupied_part" for name in QUARTERS if name not in free}
    return [Reading(ASPECT, "quarter", free, taken | {"none": "absent_subject"}, sole=len(free) == 1)]


def read_value(text: str) -> str | None:
    """One of the four quarters."""
    return answer_words.read_value("quarter", text)


def _share(thing: Thing, picture: Picture, quarter: int) -> float:
    """The share of the thing's box that lies in a quarter."""
    left, top = quarter % 2 * picture.width / 2, quarter // 2 * picture.height / 2
    x0, y0, x1, y1 = thing.corners
    wide = max(0.0, min(x1, left + picture.width / 2) - max(x0, left))
    high = max(0.0, min(y1, top + picture.height / 2) - max(y0, top))
    return wide * high / area(thing.corners)
