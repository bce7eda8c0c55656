"""What can be asked about a claim's subject: the right answer as `truth` has it, and what is certainly wrong beside it.

This is the generator's view: boxes and fields that the drawing program wrote down, read by `geometry`. The verifier
(`verifier.py`) has another view, pixels and the handwriting's own labels, and shares no code with this one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from millrace.digits.geometry import (
    ACROSS_COVERED,
    CERTAINLY_OTHER,
    COMPARED,
    COUNTABLE,
    NO_SHIFT,
    STRAIGHT,
    Selector,
    centre_of,
    leads,
    long_side,
    matches,
    share_of,
    single,
)
from millrace.digits.scenes.scene import Scene, SceneDigit
from millrace.digits.truth import distinct, truth_of
from millrace.errors import ItemFailed
from millrace.lake.places import DIRECTIONS, PLACES, POINTS, QUARTERS, REGIONS, TURNS
from millrace.probing.annotated import Truth
from millrace.qa.annotated import Reading
from millrace.qa.writing.answer_vocabulary import COUNTS, HALVES, LADDERS, NONE, ladder_of, nearest_rung, rung_percent

LABELS = tuple(str(label) for label in range(10))

OFF_RUNG = 1.25
"""A share of the area further than this factor from every rung is off the ladders."""
OPPOSITE = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "in front of": "behind",
    "behind": "in front of",
}
LOOK_ALIKE = {"0": "68", "1": "74", "2": "37", "3": "852", "4": "917", "5": "63", "6": "50", "7": "14", "8": "309", "9": "475"}
"""Digits that are easily taken for each other in handwriting."""


def readings(pipeline: str, scene: Scene, selectors: Mapping[str, Selector]) -> list[Reading]:
    """What can be asked in `pipeline` about the subject that the failed claim was about, best first.

    Raises:
        ItemFailed: "not_computable" (an annotation is not enough), "unclear_subject" (it can't be told for certain).
    """
    if pipeline not in _RULES:
        raise ItemFailed("not_computable", f"digit scenes cannot answer what the pipeline '{pipeline}' asks")
    claim, rule = _RULES[pipeline]
    truth = truth_of(claim, scene, selectors)
    found = rule(scene, selectors, truth) if truth is not None and truth.clear else []
    if not found:
        raise ItemFailed("unclear_subject", "the annotation gives no answer that is right beyond doubt")
    return found


def _label(scene: Scene, selectors: Mapping[str, Selector], truth: Truth) -> list[Reading]:
    del selectors
    if not truth.answerable:
        return [_nothing("label", dict.fromkeys(LABELS, "other_class"))]
    there = {str(digit.label) for digit in scene.digits}
    right = truth.correct["ENTITY_TYPE"].removeprefix("digit ")
    wrong: dict[str, str] = {}
    for label in LABELS:
        kind = "sibling_class" if label in there else "look_alike" if label in LOOK_ALIKE[right] else "other_class"
        wrong |= {label: kind} if label != right else {}
    return [Reading("label", "label", (right,), wrong | {NONE: "absent_subject"})]


def _region(scene: Scene, selectors: Mapping[str, Selector], truth: Truth) -> list[Reading]:
    del scene, selectors
    if not truth.answerable:
        return [_nothing("region", dict.fromkeys(REGIONS, "other_region"))]
    right = truth.correct["ABSOLUTE_REGION"]
    row, column = divmod(REGIONS.index(right), 3)
    wrong: dict[str, str] = {}
    for number, region in enumerate(REGIONS):
        away = abs(number // 3 - row) + abs(number % 3 - column)
        wrong |= {region: "neighbouring_region" if away == 1 else "other_region"} if away else {}
    return [Reading("region", "region", (right,), wrong | {NONE: "absent_subject"})]


def _direction(scene: Scene, selectors: Mapping[str, Selector], truth: Truth) -> list[Reading]:
    if not truth.answerable:
        return [_nothing("direction", dict.fromkeys(DIRECTIONS, "other_direction"))]
    first, second = (single(scene, selectors[slot]) for slot in ("OBJECT_A", "OBJECT_B"))
    assert isinstance(first, SceneDigit)
    assert isinstance(second, SceneDigit)
    (ax, ay), (bx, by) = centre_of(first, scene), centre_of(second, scene)
    dx, dy = (ax - bx) * scene.width, (ay - by) * scene.height
    ahead = {"left of": -dx, "right of": dx, "above": -dy, "below": dy}
    word = truth.correct["RELATIVE_DIRECTION"]
    wrong = {OPPOSITE[word]: "opposite"}
    if word in ("in front of", "behind"):
        size = min(long_side(first), long_side(second))
        wrong |= {name: "other_direction" for name, far in ahead.items() if far < -ACROSS_COVERED * size}
        return [Reading("direction", "direction", (word,), wrong | {NONE: "absent_subject"}, sole=False)]
    far, near = ahead[word], min(abs(dx), abs(dy))
    across = [name for name in ahead if name not in (word, OPPOSITE[word])]
    wrong |= {"in front of": "other_direction", "behind": "other_direction"}
    wrong |= {name: "other_direction" for name in across if ahead[name] < 0 or near < NO_SHIFT * far}
    return [Reading("direction", "direction", (word,), wrong | {NONE: "absent_subject"}, sole=near <= STRAIGHT * far)]


def _place(scene: Scene, selectors: Mapping[str, Selector], truth: Truth) -> list[Reading]:
    alike = [digit for digit in scene.digits if matches(digit, selectors["OBJECT_CATEGORY"])]
    if len(alike) == 1:
        return []  # one alone has a place and has none
    if not truth.answerable:
        return [_nothing("place", dict.fromkeys(PLACES, "other_place"))]
    if any(digit.visible < COMPARED for digit in alike):
        return []
    chosen = distinct(alike, selectors["DISTINCTIVE_FEATURE"])
    assert isinstance(chosen, SceneDigit)
    lead = leads(chosen, alike, scene)
    best = truth.correct["RELATIVE_POSITION"]
    wrong = {name: "other_place" for name in PLACES if lead[name] < -CERTAINLY_OTHER}
    sole = all(lead[name] < 0 for name in PLACES if name != best)
    return [Reading("place", "place", (best,), wrong | {NONE: "absent_subject"}, sole=sole)]


def _percent(scene: Scene, selectors: Mapping[str, Selector], truth: Truth) -> list[Reading]:
    if not truth.answerable:
        return [
            _nothing("percent", dict.fromkeys(ladder, "other_number"), f"percent {number}")
            for number, ladder in enumerate(LADDERS)
        ]
    digit = single(scene, selectors["TARGET_OBJECT"])
    assert isinstance(digit, SceneDigit)
    share = share_of(digit, scene)
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


def _count(scene: Scene, selectors: Mapping[str, Selector], truth: Truth) -> list[Reading]:
    kind = selectors["OBJECT_TYPE"]
    right = int(truth.correct.get("COUNT", 0))
    if right >= len(COUNTS) or any(digit.visible < COUNTABLE for digit in scene.digits):
        return []
    wrong = {
        str(other): "numeric_neighbour" if abs(other - right) <= 2 else "other_number"
        for other in range(len(COUNTS))
        if other != right
    }
    return [Reading("count", f"count of {' and '.join(sorted(kind)) or 'all'}", (str(right),), wrong)]


def _area(scene: Scene, selectors: Mapping[str, Selector], truth: Truth) -> list[Reading]:
    del scene, selectors
    free = list(truth.accepted.get("REGION_DESCRIPTION", ()))
    taken = {name: "occupied_part" for name in QUARTERS if name not in free}
    if not free:
        return [_nothing("area", taken, "quarter")]
    found = [Reading("area", "quarter", tuple(free), taken | {NONE: "absent_subject"}, sole=len(free) == 1)]
    free_halves = [half for half in HALVES if all(quarter in free for quarter in _quarters_of(half))]
    taken_halves = {half: "occupied_part" for half in HALVES if half not in free_halves}
    if len(free_halves) == 1:
        found.append(Reading("area", "half", tuple(free_halves), taken_halves))
    return found


def _orientation(scene: Scene, selectors: Mapping[str, Selector], truth: Truth) -> list[Reading]:
    del scene, selectors
    found = []
    for aspect, slot, values in (("point", "VIEW_DIRECTION", POINTS), ("turn", "OBJECT_DIRECTION", TURNS)):
        if not truth.answerable:
            found.append(_nothing(aspect, dict.fromkeys(values, "other_turn")))
            continue
        right = truth.correct[slot]
        wrong = {value: "other_turn" for value in values if value != right}
        wrong[values[(values.index(right) + 2) % 4]] = "opposite"
        found.append(Reading(aspect, aspect, (right,), wrong | {NONE: "absent_subject"}))
    return found


def _nothing(aspect: str, wrong: dict[str, str], family: str = "") -> Reading:
    return Reading(aspect, family or aspect, (NONE,), wrong, sole=False)


def _quarters_of(half: str) -> list[str]:
    side = half.split(maxsplit=1)[0]
    return [quarter for quarter in QUARTERS if side in quarter.split()]


Rule = Callable[[Scene, Mapping[str, Selector], Truth], list[Reading]]

_RULES: dict[str, tuple[str, Rule]] = {
    "visual_recognition": ("entity_basic_grounding", _label),
    "object_position": ("spatial_absolute_position", _region),
    "object_relative_position": ("spatial_relative_position", _direction),
    "object_intra_class_instance_positioning": ("intra_class_single_instance_localization", _place),
    "object_proportion": ("scale_proportion_estimation", _percent),
    "object_counting": ("counting_object_instances", _count),
    "object_absence": ("absence_negative_reasoning", _area),
    "object_orientation": ("orientation_facing_direction", _orientation),
}
"""Pipeline → the claim whose truth it asks for, and how questions are made of that."""

PIPELINES = tuple(_RULES)
"""What digit scenes can answer."""
