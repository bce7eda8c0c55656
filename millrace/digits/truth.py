"""What is true of a digit scene, computed from its annotation: the right answers to every claim, and whether they are clear.

The subject chooser asks only what has a clear answer, the judge decides by it, the training data is labelled by it. `clear` means
that a careful person could not reasonably answer otherwise: nothing sits near a border, sizes differ visibly, what is asked about
can be seen. The margins are the constants below.

Selectors are the machine form of a subject: `{"label": 7}`, `{"colour": "red"}`, both together, `{}` for all digits,
`{"extreme": "largest"}`, `{"turn": 2}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from millrace.digits.claim_vocabulary import DIGITS, POINTS, QUARTERS, REGIONS, TURNS
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


def truth_of(claim_id: str, scene: Scene, selectors: Mapping[str, Selector]) -> Truth | None:
    """What is right for a claim with these subjects; None for a claim that an annotation can't decide."""
    rule = RULES.get(claim_id)
    return None if rule is None else rule(scene, selectors)


def matches(digit: SceneDigit, selector: Selector) -> bool:
    """Whether the digit has the selector's label and colour."""
    return all(getattr(digit, key) == selector[key] for key in ("label", "colour") if key in selector)


def single(scene: Scene, selector: Selector) -> SceneDigit | Truth:
    """The one digit that the selector means; otherwise why there is none."""
    if any(_could_be(digit, selector) for digit in scene.digits):
        return UNCLEAR
    found = [digit for digit in scene.digits if matches(digit, selector)]
    if len(found) == 1:
        return found[0]
    return UNCLEAR if found else NOT_ANSWERABLE


def _could_be(digit: SceneDigit, selector: Selector) -> bool:
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


def _main_thing(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    del selectors
    if not scene.digits:
        return NOT_ANSWERABLE
    ranked = sorted(scene.digits, key=long_side, reverse=True)
    if ranked[0].visible < READABLE or (len(ranked) > 1 and long_side(ranked[0]) < LARGER * long_side(ranked[1])):
        return UNCLEAR
    return _one("ENTITY_TYPE", DIGITS[ranked[0].label])


def _region(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    digit = single(scene, selectors["TARGET_OBJECT"])
    if isinstance(digit, Truth):
        return digit
    x, y = centre_of(digit, scene)
    if min(abs(place - line / 3) for place in (x, y) for line in (1, 2)) < BORDER_MARGIN:
        return UNCLEAR
    return _one("ABSOLUTE_REGION", REGIONS[min(2, int(y * 3)) * 3 + min(2, int(x * 3))])


def _direction(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    pair = single(scene, selectors["OBJECT_A"]), single(scene, selectors["OBJECT_B"])
    truths = [digit for digit in pair if isinstance(digit, Truth)]
    if truths:
        return (
            NOT_ANSWERABLE if any(not truth.answerable for truth in truths) and all(truth.clear for truth in truths) else UNCLEAR
        )
    first, second = pair
    assert isinstance(first, SceneDigit)
    assert isinstance(second, SceneDigit)
    if first.id == second.id:
        return UNCLEAR
    (ax, ay), (bx, by) = centre_of(first, scene), centre_of(second, scene)
    dx, dy = (ax - bx) * scene.width, (ay - by) * scene.height
    sideways = ("left of" if dx < 0 else "right of", abs(dx))
    upwards = ("above" if dy < 0 else "below", abs(dy))
    if _overlap(first, second):
        return _depth(scene, first, second, (sideways, upwards))
    (word, far), (_, near) = sorted((sideways, upwards), key=lambda axis: -axis[1])
    return _one("RELATIVE_DIRECTION", word) if far >= DOMINANT * near else UNCLEAR


def _depth(scene: Scene, first: SceneDigit, second: SceneDigit, axes: Sequence[tuple[str, float]]) -> Truth:
    """Of two digits whose boxes overlap: which is in front, where one visibly covers the other."""
    back, front = sorted((first, second), key=lambda digit: digit.z)
    alone = all(not _overlap(back, other) for other in scene.digits if other.id not in {back.id, front.id})
    if not alone or back.visible > WHOLE or front.visible < WHOLE:
        return UNCLEAR
    word = "in front of" if first.id == front.id else "behind"
    smaller = min(long_side(first), long_side(second))
    also = tuple(name for name, distance in axes if distance >= SHIFT * smaller)
    return Truth(True, True, {"RELATIVE_DIRECTION": word}, {"RELATIVE_DIRECTION": (word, *also)})


def _place(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    members = _members(scene, selectors["OBJECT_CATEGORY"])
    if members is None:
        return UNCLEAR
    if len(members) < 2:
        return NOT_ANSWERABLE
    chosen = _distinct(members, selectors["DISTINCTIVE_FEATURE"])
    if isinstance(chosen, Truth):
        return chosen
    x, y = centre_of(chosen, scene)
    others = [centre_of(digit, scene) for digit in members if digit.id != chosen.id]
    leads = {
        "leftmost": min(other[0] for other in others) - x,
        "rightmost": x - max(other[0] for other in others),
        "topmost": min(other[1] for other in others) - y,
        "bottommost": y - max(other[1] for other in others),
    }
    best = max(leads, key=lambda name: leads[name])
    if leads[best] < EXTREME_MARGIN:
        return UNCLEAR
    accepted = tuple(sorted((name for name, lead in leads.items() if lead > 0), key=lambda name: -leads[name]))
    return Truth(True, True, {"RELATIVE_POSITION": best}, {"RELATIVE_POSITION": accepted})


def _distinct(members: Sequence[SceneDigit], feature: Selector) -> SceneDigit | Truth:
    """The one of `members` that has the feature."""
    if "extreme" in feature:
        ranked = sorted(members, key=long_side, reverse=feature["extreme"] == "largest")
        small, large = sorted((long_side(ranked[0]), long_side(ranked[1])))
        return ranked[0] if large >= LARGER * small and ranked[0].visible >= READABLE else UNCLEAR
    if "turn" in feature:
        turned = [digit for digit in members if digit.turn != 0]
        found = [digit for digit in turned if digit.turn == feature["turn"] and digit.label in ORIENTABLE]
        if not turned:
            return NOT_ANSWERABLE
        return found[0] if len(found) == len(turned) == 1 and found[0].visible >= READABLE else UNCLEAR
    if any(_could_be(digit, feature) for digit in members):
        return UNCLEAR
    found = [digit for digit in members if matches(digit, feature)]
    if not found:
        return NOT_ANSWERABLE
    return found[0] if len(found) == 1 else UNCLEAR


def _share(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    digit = single(scene, selectors["TARGET_OBJECT"])
    if isinstance(digit, Truth):
        return digit
    if digit.visible < WHOLE:
        return UNCLEAR
    x0, y0, x1, y1 = digit.box
    return _one("PROPORTION", f"{100 * (x1 - x0) * (y1 - y0) / (scene.width * scene.height):.1f}%")


def _count(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    members = _members(scene, selectors["OBJECT_TYPE"])
    if members is None:
        return UNCLEAR
    return _one("COUNT", str(len(members))) if members else NOT_ANSWERABLE


def _free_quarter(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    members = _members(scene, selectors["OBJECT_TYPE"])
    if not members:
        return UNCLEAR  # of something that is nowhere, every quarter is free: nothing worth asking
    shares = [max(_share_in_quarter(digit, scene, quarter) for digit in members) for quarter in range(4)]
    if any(FREE < share < OCCUPIED for share in shares):
        return UNCLEAR
    free = tuple(name for name, share in zip(QUARTERS, shares, strict=True) if share <= FREE)
    if not free:
        return NOT_ANSWERABLE
    named = free[sum(sum(digit.box) for digit in members) % len(free)]  # any of them: spread evenly over the quarters
    return Truth(True, True, {"REGION_DESCRIPTION": named}, {"REGION_DESCRIPTION": free})


def _share_in_quarter(digit: SceneDigit, scene: Scene, quarter: int) -> float:
    """The share of the digit's box that lies in a quarter of the picture."""
    x0, y0, x1, y1 = digit.box
    row, column = divmod(quarter, 2)
    left, top = column * scene.width / 2, row * scene.height / 2
    wide = max(0.0, min(x1, left + scene.width / 2) - max(x0, left))
    high = max(0.0, min(y1, top + scene.height / 2) - max(y0, top))
    return wide * high / ((x1 - x0) * (y1 - y0))


def _orientation(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    digit = single(scene, selectors["OBJECT"])
    if isinstance(digit, Truth):
        return digit
    if digit.label not in ORIENTABLE or digit.visible < READABLE:
        return UNCLEAR
    values = {"VIEW_DIRECTION": POINTS[digit.turn], "OBJECT_DIRECTION": TURNS[digit.turn]}
    return Truth(True, True, values, {slot: (value,) for slot, value in values.items()})


def _members(scene: Scene, selector: Selector) -> list[SceneDigit] | None:
    """All digits of a kind; None when a mostly hidden one might or might not be of it."""
    if any(_could_be(digit, selector) for digit in scene.digits):
        return None
    return [digit for digit in scene.digits if matches(digit, selector)]


def _overlap(first: SceneDigit, second: SceneDigit) -> bool:
    ax0, ay0, ax1, ay1 = first.box
    bx0, by0, bx1, by1 = second.box
    return min(ax1, bx1) > max(ax0, bx0) and min(ay1, by1) > max(ay0, by0)


def _one(slot: str, value: str) -> Truth:
    return Truth(True, True, {slot: value}, {slot: (value,)})


RULES: dict[str, Callable[[Scene, Mapping[str, Selector]], Truth]] = {
    "entity_basic_grounding": _main_thing,
    "spatial_absolute_position": _region,
    "spatial_relative_position": _direction,
    "intra_class_single_instance_localization": _place,
    "scale_proportion_estimation": _share,
    "counting_object_instances": _count,
    "absence_negative_reasoning": _free_quarter,
    "orientation_facing_direction": _orientation,
}
"""How each claim is decided from an annotation, by claim_id."""
