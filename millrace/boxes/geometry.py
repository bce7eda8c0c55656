"""Where things are and which of them is meant: the one reading of boxes that claims and questions share, with its margins.

`clear` beyond these margins means that a careful person, shown the boxes, could not answer otherwise. The verifier does not use
this module: it measures pixels, with margins of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import NotRequired, TypedDict, cast

import msgspec
import numpy as np

from millrace.boxes.annotation import Boxes, Corners, Picture, Thing
from millrace.errors import ItemFailed
from millrace.probing.annotated import NOT_ANSWERABLE, UNCLEAR, Truth
from millrace.records import outcome as records


class Selector(TypedDict):
    """Which things are meant, as an outcome records it."""

    label: str
    attributes: NotRequired[dict[str, str]]
    """Adjectives by what they are about: `{"colour": "red"}`."""


Selectors = dict[str, Selector]
"""By slot."""


def typed(selectors: Mapping[str, records.Selector]) -> Selectors:
    """Selectors as a record has them, checked.

    Raises:
        ItemFailed: they are not those of boxes ("unreadable_record").
    """
    try:
        return msgspec.convert(selectors, Selectors)
    except msgspec.ValidationError as error:
        raise ItemFailed("unreadable_record", f"its selectors are not those of boxes: {error}") from error


def untyped(selectors: Selectors) -> dict[str, records.Selector]:
    """Selectors as a record has them."""
    return cast("dict[str, records.Selector]", selectors)


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
    where two may be the same, of a box around a crowd, and where another label says it as well: a "sports car" is a car.
    """
    label = selector["label"]
    if label in picture.boxes.incomplete or any(says_as_well(thing.label, label) for thing in picture.boxes.things):
        return None
    alike = [thing for thing in picture.boxes.things if thing.label == label]
    if not alike:
        return [] if label in picture.boxes.absent else None
    for thing in alike:
        crowd = any(thing.attributes.get(name, "0").casefold() not in ("0", "false", "no") for name in CROWD)
        if crowd or not is_large_enough(thing, picture) or not selector.get("attributes", {}).keys() <= thing.attributes.keys():
            return None
    return (
        None if meet([thing.corners for thing in alike], SAME_THING) else [thing for thing in alike if matches(thing, selector)]
    )


def is_large_enough(thing: Thing, picture: Picture) -> bool:
    """Whether the thing is more than a speck."""
    left, top, right, bottom = thing.corners
    return max(right - left, bottom - top) >= SMALLEST * max(picture.width, picture.height)


def says_as_well(other: str, label: str) -> bool:
    """Whether the words of `label` are among those of another label."""
    words, others = label.casefold().split(), other.casefold().split()
    return others != words and set(words) <= set(others)


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


def meet(corners: Sequence[Corners], more_than: float = 0.0) -> bool:
    """Whether any two boxes share more than that (intersection over union)."""
    boxes = np.array(sorted(corners), dtype=np.float64).reshape(-1, 4)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for at in range(len(boxes) - 1):  # a row at a time: a picture may have thousands
        after = boxes[at + 1 :]
        wide = np.minimum(boxes[at, 2], after[:, 2]) - after[:, 0]
        high = np.minimum(boxes[at, 3], after[:, 3]) - np.maximum(boxes[at, 1], after[:, 1])
        shared = np.clip(wide, 0, None) * np.clip(high, 0, None)
        if np.any(shared > more_than * (areas[at] + areas[at + 1 :] - shared)):
            return True
    return False


def area(corners: Corners) -> float:
    """Square pixels of a box."""
    return (corners[2] - corners[0]) * (corners[3] - corners[1])


def references(boxes: Boxes) -> Iterator[Selector]:
    """The ways to mean things that are there: by label, and by label with one adjective."""
    seen = set()
    for thing in boxes.things:
        ways: list[Selector] = [{"label": thing.label}]
        shown = ((key, value) for key, value in sorted(thing.attributes.items()) if key not in CROWD)
        ways += [{"label": thing.label, "attributes": {key: value}} for key, value in shown]
        for way in ways:
            if str(way) not in seen:
                seen.add(str(way))
                yield way


def missing(boxes: Boxes) -> Iterator[Selector]:
    """The ways to mean what is surely not there: absent labels, and adjectives that are there on another label."""
    for label in boxes.absent:
        yield {"label": label}
    known = sorted({(key, value) for thing in boxes.things for key, value in thing.attributes.items() if key not in CROWD})
    for label in sorted({thing.label for thing in boxes.things}):
        for key, value in known:
            alike = [thing for thing in boxes.things if thing.label == label]
            if all(key in thing.attributes and thing.attributes[key] != value for thing in alike):
                yield {"label": label, "attributes": {key: value}}


def one_by_one(picture: Picture, rng: Random, slot: str, *, answerable: bool) -> Iterator[Selectors]:
    """Subjects with one place: every way to mean what is there (or surely not), in an order drawn by `rng`."""
    ways = list(references(picture.boxes) if answerable else missing(picture.boxes))
    rng.shuffle(ways)
    return ({slot: way} for way in ways)


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
