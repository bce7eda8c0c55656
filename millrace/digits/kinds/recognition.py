"""Which digit is the main thing in the picture: the one that is visibly the largest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from random import Random

from millrace.digits.claim_vocabulary import DIGITS
from millrace.digits.claim_vocabulary import read_value as read_kind
from millrace.digits.geometry import LARGER, READABLE, Selector, Selectors, long_side, one_value
from millrace.digits.kinds import nothing
from millrace.digits.scenes.scene import Scene
from millrace.probing.annotated import NOT_ANSWERABLE, UNCLEAR, Truth
from millrace.qa.annotated import Reading
from millrace.qa.writing.answer_vocabulary import NONE
from millrace.qa.writing.answer_vocabulary import read_value as read_usual

CLAIM = "entity_basic_grounding"
PIPELINE = "visual_recognition"
ASPECTS = {"ENTITY_TYPE": "label"}
SUBJECT: Mapping[str, Callable[[Selector], str]] = {}

LABELS = tuple(str(label) for label in range(10))

LOOK_ALIKE = {"0": "68", "1": "74", "2": "37", "3": "852", "4": "917", "5": "63", "6": "50", "7": "14", "8": "309", "9": "475"}
"""Digits that are easily taken for each other in handwriting."""


def subjects(scene: Scene, rng: Random, *, answerable: bool) -> Iterator[Selectors]:
    """The picture as a whole."""
    del scene, rng, answerable
    return iter([{}])


def truth(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    """The largest digit, where it is visibly the largest and can be read."""
    del selectors
    if not scene.digits:
        return NOT_ANSWERABLE
    ranked = sorted(scene.digits, key=long_side, reverse=True)
    if ranked[0].visible < READABLE or (len(ranked) > 1 and long_side(ranked[0]) < LARGER * long_side(ranked[1])):
        return UNCLEAR
    return one_value("ENTITY_TYPE", DIGITS[ranked[0].label])


def readings(scene: Scene, selectors: Mapping[str, Selector], truth: Truth) -> list[Reading]:
    """Other digits: those in the picture, those that look alike, any."""
    del selectors
    if not truth.answerable:
        return [nothing("label", dict.fromkeys(LABELS, "other_class"))]
    there = {str(digit.label) for digit in scene.digits}
    right = truth.correct["ENTITY_TYPE"].removeprefix("digit ")
    wrong: dict[str, str] = {}
    for label in LABELS:
        kind = "sibling_class" if label in there else "look_alike" if label in LOOK_ALIKE[right] else "other_class"
        wrong |= {label: kind} if label != right else {}
    return [Reading("label", "label", (right,), wrong | {NONE: "absent_subject"})]


def read_answer(slot: str, text: str) -> str | None:
    """One digit."""
    del slot
    return read_kind("digit", text)


def read_value(aspect: str, text: str) -> str | None:
    """The only whole number in the words, from 0 to 9."""
    value = read_usual(aspect, text)
    if value == NONE:
        return value
    numbers = re.findall(r"\d+", text)
    label = str(int(numbers[0])) if len(numbers) == 1 else ""
    return label if label in LABELS else None
