"""Where one digit is as seen from another; of two that overlap, which is in front."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from random import Random

from millrace.digits.claim_vocabulary import read_value as read_kind
from millrace.digits.geometry import DOMINANT, WHOLE, Selector, Selectors, centre_of, long_side, one_value, overlap, single
from millrace.digits.kinds import nothing
from millrace.digits.references import absent, object_words, ways_to_mean
from millrace.digits.scenes.scene import Scene, SceneDigit
from millrace.lake.places import DIRECTIONS
from millrace.probing.annotated import NOT_ANSWERABLE, UNCLEAR, Truth
from millrace.qa.annotated import Reading
from millrace.qa.writing.answer_vocabulary import NONE, read_value

__all__ = ["ASPECTS", "CLAIM", "PIPELINE", "SUBJECT", "read_answer", "read_value", "readings", "subjects", "truth"]

CLAIM = "spatial_relative_position"
PIPELINE = "object_relative_position"
ASPECTS = {"RELATIVE_DIRECTION": "direction"}
SUBJECT = {"OBJECT_A": object_words, "OBJECT_B": object_words}

OPPOSITE = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "in front of": "behind",
    "behind": "in front of",
}
DEPTH = ("in front of", "behind")

SHIFT = 0.2
"""For two digits that overlap: a shift by this share of the smaller one's size makes "left of" and its like true as well."""
ACROSS_COVERED = 0.25
"""Of two digits that overlap: a shift the other way by this share of the smaller one's size makes a direction certainly wrong."""
STRAIGHT = 0.2
"""Up to this ratio of the smaller to the larger distance, only the larger one is a direction worth naming."""
NO_SHIFT = 0.1
"""Below this ratio of the smaller to the larger distance, a direction across is certainly wrong."""


def subjects(scene: Scene, rng: Random, *, answerable: bool) -> Iterator[Selectors]:
    """Pairs of digits, overlapping ones first: they are rare and the only ones that ask for depth. Or one that is not there."""
    if not answerable:
        return iter([_with_absent(scene, rng, way) for way in absent(scene, rng)])
    pairs: list[Selectors] = [
        {"OBJECT_A": way, "OBJECT_B": other_way}
        for first, second in permutations(scene.digits, 2)
        for way, other_way in zip(ways_to_mean(first), ways_to_mean(second), strict=True)
    ]
    rng.shuffle(pairs)
    pairs.sort(key=lambda pair: truth(scene, pair).correct.get("RELATIVE_DIRECTION") in DEPTH, reverse=True)
    return iter(pairs)


def _with_absent(scene: Scene, rng: Random, way: Selector) -> Selectors:
    present = [other for digit in scene.digits for other in ways_to_mean(digit)]
    other: Selector = rng.choice(present) if present else {"label": (way.get("label", 0) + 1) % 10}
    pair = [way, other]
    rng.shuffle(pair)
    return {"OBJECT_A": pair[0], "OBJECT_B": pair[1]}


def truth(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    """The direction between the middles of two boxes, where one axis dominates."""
    pair = single(scene, selectors["OBJECT_A"]), single(scene, selectors["OBJECT_B"])
    without = [digit for digit in pair if isinstance(digit, Truth)]
    if without:
        is_missing = any(not one.answerable for one in without) and all(one.clear for one in without)
        return NOT_ANSWERABLE if is_missing else UNCLEAR
    first, second = pair
    assert isinstance(first, SceneDigit)
    assert isinstance(second, SceneDigit)
    if first.id == second.id:
        return UNCLEAR
    dx, dy = _shift(first, second, scene)
    sideways = ("left of" if dx < 0 else "right of", abs(dx))
    upwards = ("above" if dy < 0 else "below", abs(dy))
    if overlap(first, second):
        return _depth(scene, first, second, (sideways, upwards))
    (word, far), (_, near) = sorted((sideways, upwards), key=lambda axis: -axis[1])
    return one_value("RELATIVE_DIRECTION", word) if far >= DOMINANT * near else UNCLEAR


def _shift(first: SceneDigit, second: SceneDigit, scene: Scene) -> tuple[float, float]:
    """How far the first lies to the right of the second and below it, in pixels."""
    (ax, ay), (bx, by) = centre_of(first, scene), centre_of(second, scene)
    return (ax - bx) * scene.width, (ay - by) * scene.height


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


def readings(scene: Scene, selectors: Mapping[str, Selector], truth: Truth) -> list[Reading]:
    """The opposite is wrong; a direction across is wrong where it points away, or where there is next to no shift that way."""
    if not truth.answerable:
        return [nothing("direction", dict.fromkeys(DIRECTIONS, "other_direction"))]
    first, second = (single(scene, selectors[slot]) for slot in ("OBJECT_A", "OBJECT_B"))
    assert isinstance(first, SceneDigit)
    assert isinstance(second, SceneDigit)
    dx, dy = _shift(first, second, scene)
    ahead = {"left of": -dx, "right of": dx, "above": -dy, "below": dy}
    word = truth.correct["RELATIVE_DIRECTION"]
    wrong = {OPPOSITE[word]: "opposite"}
    if word in DEPTH:
        size = min(long_side(first), long_side(second))
        wrong |= {name: "other_direction" for name, far in ahead.items() if far < -ACROSS_COVERED * size}
        return [Reading("direction", "direction", (word,), wrong | {NONE: "absent_subject"}, sole=False)]
    far, near = ahead[word], min(abs(dx), abs(dy))
    across = [name for name in ahead if name not in (word, OPPOSITE[word])]
    wrong |= dict.fromkeys(DEPTH, "other_direction")
    wrong |= {name: "other_direction" for name in across if ahead[name] < 0 or near < NO_SHIFT * far}
    return [Reading("direction", "direction", (word,), wrong | {NONE: "absent_subject"}, sole=near <= STRAIGHT * far)]


def read_answer(slot: str, text: str) -> str | None:
    """One of the directions."""
    del slot
    return read_kind("direction", text)
