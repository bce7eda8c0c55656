"""Where one thing is as seen from another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations
from random import Random

from millrace.boxes.annotation import Picture
from millrace.boxes.geometry import (
    DOMINANT,
    Selector,
    Selectors,
    centre,
    missing,
    one_value,
    overlap,
    references,
    single,
    the_thing,
)
from millrace.boxes.kinds import nothing
from millrace.probing import answer_words
from millrace.probing.annotated import NOT_ANSWERABLE, UNCLEAR, Truth
from millrace.qa.annotated import Reading

CLAIM = "spatial_relative_position"
PIPELINE = "object_relative_position"
SLOT = "RELATIVE_DIRECTION"
ASPECT = "direction"
SUBJECT = {"OBJECT_A": the_thing, "OBJECT_B": the_thing}

OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
STRAIGHT = 0.2
"""Up to this ratio of the smaller to the larger distance, both directions across are certainly wrong."""


def subjects(picture: Picture, rng: Random, *, answerable: bool) -> Iterator[Selectors]:
    """Pairs of things; or one that is there and one that is not, in either order."""
    there = list(references(picture.boxes))
    if answerable:
        pairs = list(permutations(there, 2))
    else:
        pairs = [pair for one in there for other in missing(picture.boxes) for pair in ((one, other), (other, one))]
    rng.shuffle(pairs)
    return ({"OBJECT_A": first, "OBJECT_B": second} for first, second in pairs)


def truth(picture: Picture, selectors: Mapping[str, Selector]) -> Truth:
    """The direction between the middles of two boxes that do not overlap, where one axis dominates."""
    pair = single(picture, selectors["OBJECT_A"]), single(picture, selectors["OBJECT_B"])
    truths = [one for one in pair if isinstance(one, Truth)]
    if truths:
        return NOT_ANSWERABLE if all(one.clear for one in truths) else UNCLEAR
    first, second = pair
    assert not isinstance(first, Truth)
    assert not isinstance(second, Truth)
    if first is second or overlap(first.corners, second.corners) > 0:
        return UNCLEAR  # boxes do not tell which of two things is in front
    (ax, ay), (bx, by) = centre(first), centre(second)
    sideways = ("left of" if ax < bx else "right of", abs(ax - bx))
    upwards = ("above" if ay < by else "below", abs(ay - by))
    (word, far), (_, near) = sorted((sideways, upwards), key=lambda axis: -axis[1])
    return one_value(SLOT, word) if far >= DOMINANT * near else UNCLEAR


def readings(picture: Picture, selectors: Mapping[str, Selector], truth: Truth, rng: Random) -> list[Reading]:
    """The opposite is wrong; a direction across is wrong where it points away, or where there is next to no shift that way."""
    del rng
    if not truth.answerable:
        return [nothing(ASPECT, dict.fromkeys(OPPOSITE, "other_direction"))]
    first, second = single(picture, selectors["OBJECT_A"]), single(picture, selectors["OBJECT_B"])
    assert not isinstance(first, Truth)
    assert not isinstance(second, Truth)
    (ax, ay), (bx, by) = centre(first), centre(second)
    right = truth.correct[SLOT]
    near, far = sorted((abs(ax - bx), abs(ay - by)))
    toward = {"left of": ax < bx, "right of": ax > bx, "above": ay < by, "below": ay > by}
    across = [name for name in OPPOSITE if name not in (right, OPPOSITE[right])]
    wrong = {OPPOSITE[right]: "opposite"}
    wrong |= {name: "other_direction" for name in across if not toward[name] or near <= STRAIGHT * far}
    return [Reading(ASPECT, ASPECT, (right,), wrong | {"none": "absent_subject"}, sole=near <= STRAIGHT * far)]


def read_value(text: str) -> str | None:
    """One of the directions."""
    return answer_words.read_value("direction", text)
