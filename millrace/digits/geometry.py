"""Where the digits of a scene are and which of them is meant: the one reading of an annotation, with its margins.

What is true of a claim (`truth`) and what can be asked about it (`questions.facts`) are both computed from here. `clear` beyond
these margins means that a careful person could not reasonably answer otherwise: nothing sits near a border, sizes differ visibly,
what is asked about can be seen. The verifier does not use this module: it measures pixels, with margins of its own.

Selectors are the machine form of a subject: `{"label": 7}`, `{"colour": "red"}`, both together, `{}` for all digits,
`{"extreme": "largest"}`, `{"turn": 2}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.digits.scenes.scene import Scene, SceneDigit
from millrace.probing.annotated import NOT_ANSWERABLE, UNCLEAR, Truth

Selector = Mapping[str, Any]

BORDER_MARGIN = 0.045
"""A centre must be this share of the picture's side away from a line between regions."""
LARGER = 1.3
"""How many times longer the longer side of the largest digit must be than that of the next one."""
DOMINANT = 2.0
"""How many times larger the distance along one axis must be than along the other for "left of" and its like."""
SHIFT = 0.2
"""For two digits that overlap: a shift by this share of the smaller one's size makes "left of" and its like true as well."""
EXTREME_MARGIN = 0.06
"""How far the leftmost must be from the next, as share of the picture's side."""
READABLE = 0.72
"""Share of its ink that must show for a digit to be named."""
COUNTABLE = 0.5
"""Share of its ink that must show for a digit to be counted."""
WHOLE = 0.92
"""Share of its ink that must show for its size to be judged."""
FREE, OCCUPIED = 0.0, 0.10
"""Share of a digit's box inside a quarter up to which the quarter is free of it, and from which it is not."""
ORIENTABLE = (3, 4, 7)
"""Digits whose top can be told from their bottom whatever the handwriting."""

CERTAINLY_OTHER = 0.03
"""A digit that lies further in than another by this share of the picture's side certainly does not lie furthest out."""
STRAIGHT = 0.2
"""Up to this ratio of the smaller to the larger distance, only the larger one is a direction worth naming."""
NO_SHIFT = 0.1
"""Below this ratio of the smaller to the larger distance, a direction across is certainly wrong."""
ACROSS_COVERED = 0.25
"""Of two digits that overlap: a shift the other way by this share of the smaller one's size makes a direction certainly wrong."""
COMPARED = 0.7
"""Share of its ink that every digit must show among which one is to be found."""


def matches(digit: SceneDigit, selector: Selector) -> bool:
    """Whether the digit has the selector's label and colour."""
    return all(getattr(digit, key) == selector[key] for key in ("label", "colour") if key in selector)


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


def share_in_quarter(digit: SceneDigit, scene: Scene, quarter: int) -> float:
    """The share of the digit's box that lies in a quarter of the picture."""
    x0, y0, x1, y1 = digit.box
    row, column = divmod(quarter, 2)
    left, top = column * scene.width / 2, row * scene.height / 2
    wide = max(0.0, min(x1, left + scene.width / 2) - max(x0, left))
    high = max(0.0, min(y1, top + scene.height / 2) - max(y0, top))
    return wide * high / ((x1 - x0) * (y1 - y0))


def members(scene: Scene, selector: Selector) -> list[SceneDigit] | None:
    """All digits of a kind; None when a mostly hidden one might or might not be of it."""
    if any(could_be(digit, selector) for digit in scene.digits):
        return None
    return [digit for digit in scene.digits if matches(digit, selector)]


def overlap(first: SceneDigit, second: SceneDigit) -> bool:
    ax0, ay0, ax1, ay1 = first.box
    bx0, by0, bx1, by1 = second.box
    return min(ax1, bx1) > max(ax0, bx0) and min(ay1, by1) > max(ay0, by0)


def share_of(digit: SceneDigit, scene: Scene) -> float:
    """How much of the picture's area the digit's box covers, in percent."""
    x0, y0, x1, y1 = digit.box
    return 100 * (x1 - x0) * (y1 - y0) / (scene.width * scene.height)


def leads(chosen: SceneDigit, alike: Sequence[SceneDigit], scene: Scene) -> dict[str, float]:
    """By place (leftmost …): how far the chosen one lies further out than all others, in shares of the picture's side."""
    x, y = centre_of(chosen, scene)
    others = [centre_of(digit, scene) for digit in alike if digit.id != chosen.id]
    return {
        "leftmost": min(other[0] for other in others) - x,
        "rightmost": x - max(other[0] for other in others),
        "topmost": min(other[1] for other in others) - y,
        "bottommost": y - max(other[1] for other in others),
    }
