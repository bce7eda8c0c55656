"""Answers computed from a scene's annotation: what is right, what is certainly wrong, and nothing in between.

This is the generator's view: boxes and fields that the drawing program wrote down. The verifier (`verifier.py`) has another view,
pixels and the handwriting's own labels, and shares no code with this one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from millrace.digits.scenes.scene import Scene, SceneDigit
from millrace.errors import ItemFailed
from millrace.qa.annotated import Reading
from millrace.qa.writing.answer_vocabulary import (
    COUNTS,
    DIRECTIONS,
    HALVES,
    LADDERS,
    NONE,
    PLACES,
    POINTS,
    QUARTERS,
    REGIONS,
    TURNS,
    ladder_of,
    nearest_rung,
    rung_percent,
)

Selector = Mapping[str, Any]

LABELS = tuple(str(label) for label in range(10))

READABLE = 0.7
"""Share of its ink a digit must show to be talked about."""
NEAR_LINE = 0.02
"""A centre nearer than this (share of the picture's side) to a line between two regions lies in neither for certain."""
CLEARLY = 0.03
"""By how much (share of the picture's side) one digit must lie further out than another to be called so."""
ASIDE = 0.2
"""Up to this ratio of the smaller to the larger distance, only the larger one is a direction worth naming."""
OFF_RUNG = 1.25
"""A share of the area further than this factor from every rung is off the ladders."""
LOOK_ALIKE = {"0": "68", "1": "74", "2": "37", "3": "852", "4": "917", "5": "63", "6": "50", "7": "14", "8": "309", "9": "475"}
"""Digits that are easily taken for each other in handwriting."""


def readings(pipeline: str, scene: Scene, selectors: Mapping[str, Selector]) -> list[Reading]:
    """What can be asked in `pipeline` about the subject that the failed claim was about, best first.

    Raises:
        ItemFailed: "not_computable" (an annotation is not enough), "unclear_subject" (it can't be told for certain).
    """
    rule = _RULES.get(pipeline)
    if rule is None:
        raise ItemFailed("not_computable", f"digit scenes cannot answer what the pipeline '{pipeline}' asks")
    found = [reading for reading in rule(scene, selectors) if reading.right]
    if not found:
        raise ItemFailed("unclear_subject", "the annotation gives no answer that is right beyond doubt")
    return found


def _label(scene: Scene, selectors: Mapping[str, Selector]) -> list[Reading]:
    del selectors
    there = {str(digit.label) for digit in scene.digits}
    if not there:
        return [_nothing("label", dict.fromkeys(LABELS, "other_class"))]
    first, *others = sorted(scene.digits, key=_extent, reverse=True)
    if first.visible < READABLE or (others and _extent(others[0]) * 1.2 > _extent(first)):
        return []
    right = str(first.label)
    wrong: dict[str, str] = {}
    for label in LABELS:
        kind = "sibling_class" if label in there else "look_alike" if label in LOOK_ALIKE[right] else "other_class"
        wrong |= {label: kind} if label != right else {}
    return [Reading("label", "label", (right,), wrong | {NONE: "absent_subject"})]


def _region(scene: Scene, selectors: Mapping[str, Selector]) -> list[Reading]:
    digit = _the_one(scene, selectors["TARGET_OBJECT"])
    if digit is None:
        return [_nothing("region", dict.fromkeys(REGIONS, "other_region"))]
    x, y = _centre(digit, scene)
    if min(abs(place - line) for place in (x, y) for line in (1 / 3, 2 / 3)) < NEAR_LINE:
        return []
    column, row = int(x * 3), int(y * 3)
    wrong: dict[str, str] = {}
    for number, region in enumerate(REGIONS):
        away = abs(number // 3 - row) + abs(number % 3 - column)
        wrong |= {region: "neighbouring_region" if away == 1 else "other_region"} if away else {}
    return [Reading("region", "region", (REGIONS[row * 3 + column],), wrong | {NONE: "absent_subject"})]


def _direction(scene: Scene, selectors: Mapping[str, Selector]) -> list[Reading]:
    first, second = _the_one(scene, selectors["OBJECT_A"]), _the_one(scene, selectors["OBJECT_B"])
    if first is None or second is None:
        return [_nothing("direction", dict.fromkeys(DIRECTIONS, "other_direction"))]
    (ax, ay), (bx, by) = _centre(first, scene), _centre(second, scene)
    dx, dy = (ax - bx) * scene.width, (ay - by) * scene.height
    across = ("left of", "right of", -dx), ("right of", "left of", dx)
    along = ("above", "below", -dy), ("below", "above", dy)
    size = min(_extent(first), _extent(second))
    if _boxes_meet(first, second):
        if min(first.visible, second.visible) > 0.95 or max(first.visible, second.visible) < 0.9:
            return []
        word, other = ("in front of", "behind") if first.z > second.z else ("behind", "in front of")
        wrong = {other: "opposite"}
        wrong |= {name: "other_direction" for name, _, ahead in (*across, *along) if ahead < -0.25 * size}
        return [Reading("direction", "direction", (word,), wrong | {NONE: "absent_subject"}, sole=False)]
    main, side = sorted((across, along), key=lambda pair: -abs(pair[0][2]))
    word, opposite, far = max(main, key=lambda entry: entry[2])
    near = abs(side[0][2])
    if far < 1.5 * near:
        return []
    wrong = {opposite: "opposite", "in front of": "other_direction", "behind": "other_direction"}
    wrong |= {name: "other_direction" for name, _, ahead in side if ahead < 0 or near < 0.1 * far}
    return [Reading("direction", "direction", (word,), wrong | {NONE: "absent_subject"}, sole=near <= ASIDE * far)]


def _place(scene: Scene, selectors: Mapping[str, Selector]) -> list[Reading]:
    kind, feature = selectors["OBJECT_CATEGORY"], selectors["DISTINCTIVE_FEATURE"]
    members = [digit for digit in scene.digits if _is(digit, kind)]
    if len(members) == 1:
        return []  # one alone has a place and has none
    chosen = [digit for digit in members if _has(digit, feature, members)]
    if not chosen:
        return [_nothing("place", dict.fromkeys(PLACES, "other_place"))]
    if len(chosen) > 1 or any(digit.visible < READABLE for digit in (*chosen, *members)):
        return []
    x, y = _centre(chosen[0], scene)
    others = [_centre(digit, scene) for digit in members if digit is not chosen[0]]
    lead = {
        "leftmost": min(other[0] for other in others) - x,
        "rightmost": x - max(other[0] for other in others),
        "topmost": min(other[1] for other in others) - y,
        "bottommost": y - max(other[1] for other in others),
    }
    best = max(PLACES, key=lambda name: lead[name])
    if lead[best] < CLEARLY:
        return []
    wrong = {name: "other_place" for name in PLACES if lead[name] < -CLEARLY}
    sole = all(lead[name] < 0 for name in PLACES if name != best)
    return [Reading("place", "place", (best,), wrong | {NONE: "absent_subject"}, sole=sole)]


def _percent(scene: Scene, selectors: Mapping[str, Selector]) -> list[Reading]:
    digit = _the_one(scene, selectors["TARGET_OBJECT"])
    if digit is None:
        return [
            _nothing("percent", dict.fromkeys(ladder, "other_number"), f"percent {number}")
            for number, ladder in enumerate(LADDERS)
        ]
    x0, y0, x1, y1 = digit.box
    share = 100 * (x1 - x0) * (y1 - y0) / (scene.width * scene.height)
    rung = nearest_rung(share)
    if abs(math.log(share / rung_percent(rung))) > math.log(OFF_RUNG):
        return []
    ladder = ladder_of(rung)
    at = ladder.index(rung)
    wrong = {
        other: "numeric_neighbour" if abs(number - at) == 1 else "other_number"
        for number, other in enumerate(ladder)
        if number != at
    }
    family = f"percent {LADDERS.index(ladder)}"
    return [Reading("percent", family, (rung,), wrong | {NONE: "absent_subject"}, sole=False)]


def _count(scene: Scene, selectors: Mapping[str, Selector]) -> list[Reading]:
    kind = selectors["OBJECT_TYPE"]
    if any(digit.visible < 0.5 for digit in scene.digits):
        return []
    right = sum(_is(digit, kind) for digit in scene.digits)
    if right >= len(COUNTS):
        return []
    wrong = {
        str(other): "numeric_neighbour" if abs(other - right) <= 2 else "other_number"
        for other in range(len(COUNTS))
        if other != right
    }
    return [Reading("count", f"count of {' and '.join(sorted(kind)) or 'all'}", (str(right),), wrong)]


def _area(scene: Scene, selectors: Mapping[str, Selector]) -> list[Reading]:
    members = [digit for digit in scene.digits if _is(digit, selectors["OBJECT_TYPE"])]
    if not members:
        return []  # of what is nowhere, every part is free: there is nothing to find out
    held = [max(_share_inside(digit, scene, quarter) for digit in members) for quarter in range(4)]
    free = [name for name, share in zip(QUARTERS, held, strict=True) if share == 0]
    taken = {name: "occupied_part" for name, share in zip(QUARTERS, held, strict=True) if share >= 0.08}
    if len(free) + len(taken) < 4:
        return []
    if not free:
        return [_nothing("area", taken, "quarter")]
    found = [Reading("area", "quarter", tuple(free), taken | {NONE: "absent_subject"}, sole=len(free) == 1)]
    free_halves = [half for half in HALVES if all(quarter in free for quarter in _quarters_of(half))]
    taken_halves = {half: "occupied_part" for half in HALVES if half not in free_halves}
    if len(free_halves) == 1:
        found.append(Reading("area", "half", tuple(free_halves), taken_halves))
    return found


def _orientation(scene: Scene, selectors: Mapping[str, Selector]) -> list[Reading]:
    digit = _the_one(scene, selectors["OBJECT"])
    found = []
    for aspect, values in (("point", POINTS), ("turn", TURNS)):
        if digit is None:
            found.append(_nothing(aspect, dict.fromkeys(values, "other_turn")))
        elif digit.label in (3, 4, 7) and digit.visible >= READABLE:
            wrong = {value: "other_turn" for turn, value in enumerate(values) if turn != digit.turn}
            wrong[values[(digit.turn + 2) % 4]] = "opposite"
            found.append(Reading(aspect, aspect, (values[digit.turn],), wrong | {NONE: "absent_subject"}))
    return found


def _nothing(aspect: str, wrong: dict[str, str], family: str = "") -> Reading:
    return Reading(aspect, family or aspect, (NONE,), wrong, sole=False)


def _the_one(scene: Scene, selector: Selector) -> SceneDigit | None:
    """The digit that is meant; None when there is none. Raises `ItemFailed` when that can't be told."""
    found = [digit for digit in scene.digits if _is(digit, selector)]
    if len(found) > 1 or any(digit.visible < READABLE for digit in found):
        raise ItemFailed("unclear_subject", f"{len(found)} digits could be meant by {dict(selector)}")
    return found[0] if found else None


def _is(digit: SceneDigit, selector: Selector) -> bool:
    return all(getattr(digit, key) == selector[key] for key in ("label", "colour") if key in selector)


def _has(digit: SceneDigit, feature: Selector, members: list[SceneDigit]) -> bool:
    if "extreme" in feature:
        sizes = sorted(_extent(member) for member in members)
        clear = sizes[-1] > 1.2 * sizes[-2] if feature["extreme"] == "largest" else sizes[1] > 1.2 * sizes[0]
        return clear and _extent(digit) == (sizes[-1] if feature["extreme"] == "largest" else sizes[0])
    if "turn" in feature:
        return bool(digit.turn == feature["turn"])
    return _is(digit, feature)


def _centre(digit: SceneDigit, scene: Scene) -> tuple[float, float]:
    x0, y0, x1, y1 = digit.box
    return (x0 + x1) / (2 * scene.width), (y0 + y1) / (2 * scene.height)


def _extent(digit: SceneDigit) -> int:
    x0, y0, x1, y1 = digit.box
    return max(x1 - x0, y1 - y0)


def _boxes_meet(first: SceneDigit, second: SceneDigit) -> bool:
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = first.box, second.box
    return ax0 < bx1 and bx0 < ax1 and ay0 < by1 and by0 < ay1


def _share_inside(digit: SceneDigit, scene: Scene, quarter: int) -> float:
    x0, y0, x1, y1 = digit.box
    left, top = quarter % 2 * scene.width / 2, quarter // 2 * scene.height / 2
    wide = min(x1, left + scene.width / 2) - max(x0, left)
    high = min(y1, top + scene.height / 2) - max(y0, top)
    return max(wide, 0) * max(high, 0) / ((x1 - x0) * (y1 - y0))


def _quarters_of(half: str) -> list[str]:
    side = half.split(maxsplit=1)[0]
    return [quarter for quarter in QUARTERS if side in quarter.split()]


_RULES: dict[str, Callable[[Scene, Mapping[str, Selector]], list[Reading]]] = {
    "visual_recognition": _label,
    "object_position": _region,
    "object_relative_position": _direction,
    "object_intra_class_instance_positioning": _place,
    "object_proportion": _percent,
    "object_counting": _count,
    "object_absence": _area,
    "object_orientation": _orientation,
}
"""Pipeline → how its answers are read off an annotation."""

PIPELINES = tuple(_RULES)
"""What digit scenes can answer."""
