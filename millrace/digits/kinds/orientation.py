"""How a digit is turned, and which way its top points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

from millrace.digits.claim_vocabulary import read_value as read_kind
from millrace.digits.geometry import ORIENTABLE, READABLE, Selector, Selectors, single
from millrace.digits.kinds import nothing
from millrace.digits.references import absent, object_words, ways_to_mean
from millrace.digits.scenes.scene import Scene
from millrace.lake.places import POINTS, TURNS
from millrace.probing.annotated import UNCLEAR, Truth
from millrace.qa.annotated import Reading
from millrace.qa.writing.answer_vocabulary import NONE, read_value

__all__ = ["ASPECTS", "CLAIM", "PIPELINE", "SUBJECT", "read_answer", "read_value", "readings", "subjects", "truth"]

CLAIM = "orientation_facing_direction"
PIPELINE = "object_orientation"
ASPECTS = {"VIEW_DIRECTION": "point", "OBJECT_DIRECTION": "turn"}
SUBJECT = {"OBJECT": object_words}

VALUES = {"VIEW_DIRECTION": POINTS, "OBJECT_DIRECTION": TURNS}


def subjects(scene: Scene, rng: Random, *, answerable: bool) -> Iterator[Selectors]:
    """Digits with a top and a bottom, turned ones first: of an upright digit there is little to ask."""
    if not answerable:
        return iter([{"OBJECT": way} for way in absent(scene, rng, ORIENTABLE, by_colour=False)])
    digits = [digit for digit in scene.digits if digit.label in ORIENTABLE]
    rng.shuffle(digits)
    digits.sort(key=lambda digit: digit.turn == 0)
    return iter([{"OBJECT": way} for digit in digits for way in rng.sample(ways_to_mean(digit), 3)])


def truth(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    """Both answers, of a digit that can be read and whose top can be told."""
    digit = single(scene, selectors["OBJECT"])
    if isinstance(digit, Truth):
        return digit
    if digit.label not in ORIENTABLE or digit.visible < READABLE:
        return UNCLEAR
    values = {slot: named[digit.turn] for slot, named in VALUES.items()}
    return Truth(True, True, values, {slot: (value,) for slot, value in values.items()})


def readings(scene: Scene, selectors: Mapping[str, Selector], truth: Truth) -> list[Reading]:
    """The three other turns, of each aspect."""
    del scene, selectors
    found = []
    for slot, values in VALUES.items():
        aspect = ASPECTS[slot]
        if not truth.answerable:
            found.append(nothing(aspect, dict.fromkeys(values, "other_turn"), presence=True))
            continue
        right = truth.correct[slot]
        wrong = {value: "other_turn" for value in values if value != right}
        wrong[values[(values.index(right) + 2) % 4]] = "opposite"
        found.append(Reading(aspect, aspect, (right,), wrong | {NONE: "absent_subject"}, presence=True))
    return found


def read_answer(slot: str, text: str) -> str | None:
    """One of four directions, or of four turns."""
    return read_kind("point" if slot == "VIEW_DIRECTION" else "turn", text)
