"""What is true of a digit scene, computed from its annotation: the right answers to every claim, and whether they are clear.

The subject chooser asks only what has a clear answer, the judge decides by it, the training data is labelled by it, and questions
are written from it. The margins of `clear` are those of `geometry`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from millrace.digits.claim_vocabulary import DIGITS
from millrace.digits.geometry import (
    BORDER_MARGIN,
    DOMINANT,
    EXTREME_MARGIN,
    FREE,
    LARGER,
    OCCUPIED,
    ORIENTABLE,
    READABLE,
    SHIFT,
    WHOLE,
    Selector,
    centre_of,
    could_be,
    leads,
    long_side,
    matches,
    members,
    overlap,
    share_in_quarter,
    share_of,
    single,
)
from millrace.digits.scenes.scene import Scene, SceneDigit
from millrace.lake.places import POINTS, QUARTERS, REGIONS, TURNS
from millrace.probing.annotated import NOT_ANSWERABLE, UNCLEAR, Truth


def truth_of(claim_id: str, scene: Scene, selectors: Mapping[str, Selector]) -> Truth | None:
    """What is right for a claim with these subjects; None for a claim that an annotation can't decide."""
    rule = RULES.get(claim_id)
    return None if rule is None else rule(scene, selectors)


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
    if overlap(first, second):
        return _depth(scene, first, second, (sideways, upwards))
    (word, far), (_, near) = sorted((sideways, upwards), key=lambda axis: -axis[1])
    return _one("RELATIVE_DIRECTION", word) if far >= DOMINANT * near else UNCLEAR


def _depth(scene: Scene, first: SceneDigit, second: SceneDigit, axes: Sequence[tuple[str, float]]) -> Truth:
    """Of two digits whose boxes overlap: which is in front, where one visibly covers the other."""
    back, front = sorted((first, second), key=lambda digit: digit.z)
    alone = all(not overlap(back, other) for other in scene.digits if other.id not in {back.id, front.id})
    if not alone or back.visible > WHOLE or front.visible < WHOLE:
        return UNCLEAR
    word = "in front of" if first.id == front.id else "behind"
    smaller = min(long_side(first), long_side(second))
    also = tuple(name for name, distance in axes if distance >= SHIFT * smaller)
    return Truth(True, True, {"RELATIVE_DIRECTION": word}, {"RELATIVE_DIRECTION": (word, *also)})


def _place(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    alike = members(scene, selectors["OBJECT_CATEGORY"])
    if alike is None:
        return UNCLEAR
    if len(alike) < 2:
        return NOT_ANSWERABLE
    chosen = distinct(alike, selectors["DISTINCTIVE_FEATURE"])
    if isinstance(chosen, Truth):
        return chosen
    lead = leads(chosen, alike, scene)
    best = max(lead, key=lambda name: lead[name])
    if lead[best] < EXTREME_MARGIN:
        return UNCLEAR
    accepted = tuple(sorted((name for name, ahead in lead.items() if ahead > 0), key=lambda name: -lead[name]))
    return Truth(True, True, {"RELATIVE_POSITION": best}, {"RELATIVE_POSITION": accepted})


def distinct(alike: Sequence[SceneDigit], feature: Selector) -> SceneDigit | Truth:
    """The one of `alike` that has the feature."""
    if "extreme" in feature:
        ranked = sorted(alike, key=long_side, reverse=feature["extreme"] == "largest")
        small, large = sorted((long_side(ranked[0]), long_side(ranked[1])))
        return ranked[0] if large >= LARGER * small and ranked[0].visible >= READABLE else UNCLEAR
    if "turn" in feature:
        turned = [digit for digit in alike if digit.turn != 0]
        found = [digit for digit in turned if digit.turn == feature["turn"] and digit.label in ORIENTABLE]
        if not turned:
            return NOT_ANSWERABLE
        return found[0] if len(found) == len(turned) == 1 and found[0].visible >= READABLE else UNCLEAR
    if any(could_be(digit, feature) for digit in alike):
        return UNCLEAR
    found = [digit for digit in alike if matches(digit, feature)]
    if not found:
        return NOT_ANSWERABLE
    return found[0] if len(found) == 1 else UNCLEAR


def _share(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    digit = single(scene, selectors["TARGET_OBJECT"])
    if isinstance(digit, Truth):
        return digit
    if digit.visible < WHOLE:
        return UNCLEAR
    return _one("PROPORTION", f"{share_of(digit, scene):.1f}%")


def _count(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    found = members(scene, selectors["OBJECT_TYPE"])
    if found is None:
        return UNCLEAR
    return _one("COUNT", str(len(found))) if found else NOT_ANSWERABLE


def _free_quarter(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    found = members(scene, selectors["OBJECT_TYPE"])
    if not found:
        return UNCLEAR  # of something that is nowhere, every quarter is free: nothing worth asking
    shares = [max(share_in_quarter(digit, scene, quarter) for digit in found) for quarter in range(4)]
    if any(FREE < share < OCCUPIED for share in shares):
        return UNCLEAR
    free = tuple(name for name, share in zip(QUARTERS, shares, strict=True) if share <= FREE)
    if not free:
        return NOT_ANSWERABLE
    named = free[sum(sum(digit.box) for digit in found) % len(free)]  # any of them: spread evenly over the quarters
    return Truth(True, True, {"REGION_DESCRIPTION": named}, {"REGION_DESCRIPTION": free})


def _orientation(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    digit = single(scene, selectors["OBJECT"])
    if isinstance(digit, Truth):
        return digit
    if digit.label not in ORIENTABLE or digit.visible < READABLE:
        return UNCLEAR
    values = {"VIEW_DIRECTION": POINTS[digit.turn], "OBJECT_DIRECTION": TURNS[digit.turn]}
    return Truth(True, True, values, {slot: (value,) for slot, value in values.items()})


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
