"""Where things are and which of them is meant: the one reading of boxes that claims and questions share, with its margins.

`clear` beyond these margins means that a careful person, shown the boxes, could not answer otherwise. The verifier does not use
this module: it measures pixels, with margins of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from millrace.boxes.annotation import Boxes, Corners, Picture, Thing
from millrace.probing.annotated import NOT_ANSWERABLE, UNCLEAR, Truth

Selector = Mapping[str, Any]
"""`{"label": "cup"}`, or with adjectives `{"label": "cup", "attributes": {"colour": "red"}}`."""

BORDER_MARGIN = 0.045
"""A middle must be this share of the picture's side away from a line between parts."""
DOMINANT = 2.0
"""How many times larger the distance along one axis must be than along the other for "left of" and its like."""
SMALLEST = 0.02
"""A thing counts only when its longer side is at least this share of the picture's longer side."""
SAME_THING = 0.7
"""Boxes of one label that share more than this (intersection over union) may be one thing annotated twice."""
OCCUPIED = 0.10
"""A quarter holds a thing for certain when this share of its box lies there; it is free when nothing does."""
CROWD = ("crowd", "iscrowd")
"""Attributes that mark a box around many things at once."""


def matches(thing: Thing, selector: Selector) -> bool:
    """Whether the thing has the selector's label and adjectives."""
    wanted = selector.get("attributes", {})
    return thing.label == selector["label"] and all(thing.attributes.get(key) == value for key, value in wanted.items())


def members(picture: Picture, selector: Selector) -> list[Thing] | None:
    """All things that are meant; None when it can't be told which they are.

    It can't where the list is not complete, where an adjective is not known of each, where one is too small to be asked about,
    where two may be the same, and of a box around a crowd.
    """
    label = selector["label"]
    if label in picture.boxes.incomplete:
        return None
    alike = [thing for thing in picture.boxes.things if thing.label == label]
    if not alike:
        return [] if label in picture.boxes.absent else None
    for thing in alike:
        left, top, right, bottom = thing.corners
        small = max(right - left, bottom - top) < SMALLEST * max(picture.width, picture.height)
        crowd = any(thing.attributes.get(name, "0").casefold() not in ("0", "false", "no") for name in CROWD)
        if small or crowd or not selector.get("attributes", {}).keys() <= thing.attributes.keys():
            return None
    twice = any(overlap(one.corners, two.corners) > SAME_THING for at, one in enumerate(alike) for two in alike[:at])
    return None if twice else [thing for thing in alike if matches(thing, selector)]


def single(picture: Picture, selector: Selector) -> Thing | Truth:
    """The one thing that is meant; otherwise why there is none."""
    found = members(picture, selector)
    if found is None or len(found) > 1:
        return UNCLEAR
    return found[0] if found else NOT_ANSWERABLE


def centre(thing: Thing) -> tuple[float, float]:
    """The middle of the thing's box, in pixels."""
    left, top, right, bottom = thing.corners
    return (left + right) / 2, (top + bottom) / 2


def overlap(one: Corners, two: Corners) -> float:
    """Intersection over union of two boxes."""
    wide = min(one[2], two[2]) - max(one[0], two[0])
    high = min(one[3], two[3]) - max(one[1], two[1])
    shared = max(0.0, wide) * max(0.0, high)
    return shared / (area(one) + area(two) - shared)


def area(corners: Corners) -> float:
    """Square pixels of a box."""
    return (corners[2] - corners[0]) * (corners[3] - corners[1])


def references(boxes: Boxes) -> Iterator[dict[str, Any]]:
    """The ways to mean things that are there: by label, and by label with one adjective."""
    seen = set()
    for thing in boxes.things:
        ways: list[dict[str, Any]] = [{"label": thing.label}]
        shown = ((key, value) for key, value in sorted(thing.attributes.items()) if key not in CROWD)
        ways += [{"label": thing.label, "attributes": {key: value}} for key, value in shown]
        for way in ways:
            if str(way) not in seen:
                seen.add(str(way))
                yield way


def missing(boxes: Boxes) -> Iterator[dict[str, Any]]:
    """The ways to mean what is surely not there: absent labels, and adjectives that are there on another label."""
    yield from ({"label": label} for label in boxes.absent)
    known = sorted({(key, value) for thing in boxes.things for key, value in thing.attributes.items() if key not in CROWD})
    for label in sorted({thing.label for thing in boxes.things}):
        for key, value in known:
            alike = [thing for thing in boxes.things if thing.label == label]
            if all(key in thing.attributes and thing.attributes[key] != value for thing in alike):
                yield {"label": label, "attributes": {key: value}}


def named(selector: Selector) -> str:
    """`red cup`."""
    return " ".join([*(value for _, value in sorted(selector.get("attributes", {}).items())), selector["label"]])


def the_thing(selector: Selector) -> str:
    """`the red cup`: one thing in a sentence."""
    return f"the {named(selector)}"


def the_kind(selector: Selector) -> str:
    """`objects of the kind "red cup"`: so that no plural has to be made of a label in whatever language."""
    return f'objects of the kind "{named(selector)}"'


def one_value(slot: str, value: str) -> Truth:
    """A clear answer that is the only right one."""
    return Truth(True, True, {slot: value}, {slot: (value,)})
