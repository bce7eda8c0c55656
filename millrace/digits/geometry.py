"""Where the digits of a scene are and which of them is meant: the one reading of an annotation, with its margins.

What is true of a claim and what can be asked about it are both computed from here (`kinds`). `clear` beyond these margins means
that a careful person could not reasonably answer otherwise: nothing sits near a border, sizes differ visibly, what is asked about
can be seen. The verifiers do not use this module: they measure pixels, with margins of their own.

Selectors are the machine form of a subject: `{"label": 7}`, `{"colour": "red"}`, both together, `{}` for all digits,
`{"extreme": "largest"}`, `{"turn": 2}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypedDict, cast

import msgspec

from millrace.digits.scenes.scene import Scene, SceneDigit
from millrace.errors import ItemFailed
from millrace.probing.annotated import NOT_ANSWERABLE, UNCLEAR, Truth
from millrace.records import outcome as records


class Selector(TypedDict, total=False):
    """Which digits are meant, as an outcome records it."""

    label: int
    """The digit written, 0 to 9."""
    colour: str
    extreme: Literal["largest", "smallest"]
    """By the longer side."""
    turn: int
    """Clockwise quarter-turns."""


Selectors = dict[str, Selector]
"""By slot."""


def typed(selectors: Mapping[str, records.Selector]) -> Selectors:
    """Selectors as a record has them, checked.

    Raises:
        ItemFailed: they are not those of digits ("unreadable_record").
    """
    try:
        return msgspec.convert(selectors, Selectors)
    except msgspec.ValidationError as error:
        raise ItemFailed("unreadable_record", f"its selectors are not those of digits: {error}") from error


def untyped(selectors: Selectors) -> dict[str, records.Selector]:
    """Selectors as a record has them."""
    return cast("dict[str, records.Selector]", selectors)


BORDER_MARGIN = 0.045
"""A centre must be this share of the picture's side away from a line between regions."""
LARGER = 1.3
"""How many times longer the longer side of the largest digit must be than that of the next one."""
DOMINANT = 2.0
"""How many times larger the distance along one axis must be than along the other for "left of" and its like."""
EXTREME_MARGIN = 0.06
"""How far the leftmost must be from the next, as share of the picture's side."""
READABLE = 0.72
"""Share of its ink that must show for a digit to be named."""
COUNTABLE = 0.5
"""Share of its ink that must show for a digit to be counted."""
WHOLE = 0.92
"""Share of its ink that must show for its size to be judged."""
ORIENTABLE = (3, 4, 7)
"""Digits whose top can be told from their bottom whatever the handwriting."""


def matches(digit: SceneDigit, selector: Selector) -> bool:
    """Whether the digit has the selector's label and colour."""
    return selector.get("label") in (None, digit.label) and selector.get("colour") in (None, digit.colour)


def single(scene: Scene, selector: Selector) -> SceneDigit | Truth:
    """The one digit that the selector means; otherwise why there is none."""
    if any(could_be(digit, selector) for digit in scene.digits):
        return UNCLEAR
    found = [digit for digit in scene.digits if matches(digit, selector)]
    if len(found) == 1:
        return found[0]
    return UNCLEAR if found else NOT_ANSWERABLE


def could_be(digit: SceneDigit, selector: Selector) -> bool:
    """Whether so much of the digit is hidden that nobody can tell if it is meant."""
    if "colour" in selector and digit.colour != selector["colour"]:
        return False
    return digit.visible < (READABLE if "label" in selector else COUNTABLE)


def centre_of(digit: SceneDigit, scene: Scene) -> tuple[float, float]:
    """The middle of the digit's box in shares of the picture's width and height."""
    x0, y0, x1, y1 = digit.box
    return (x0 + x1) / 2 / scene.width, (y0 + y1) / 2 / scene.height


def long_side(digit: SceneDigit) -> int:
    """The longer side of the digit's box in pixels."""
    x0, y0, x1, y1 = digit.box
    return max(x1 - x0, y1 - y0)


def members(scene: Scene, selector: Selector) -> list[SceneDigit] | None:
    """All digits of a kind; None when a mostly hidden one might or might not be of it."""
    if any(could_be(digit, selector) for digit in scene.digits):
        return None
    return [digit for digit in scene.digits if matches(digit, selector)]


def overlap(first: SceneDigit, second: SceneDigit) -> bool:
    """Whether the boxes of two digits meet."""
    ax0, ay0, ax1, ay1 = first.box
    bx0, by0, bx1, by1 = second.box
    return min(ax1, bx1) > max(ax0, bx0) and min(ay1, by1) > max(ay0, by0)


def one_value(slot: str, value: str) -> Truth:
    """A clear answer that is the only right one."""
    return Truth(True, True, {slot: value}, {slot: (value,)})
