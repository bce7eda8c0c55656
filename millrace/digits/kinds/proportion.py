"""How much of the picture's area the box around a digit takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from random import Random

from millrace.digits.claim_vocabulary import read_value as read_kind
from millrace.digits.geometry import WHOLE, Selector, Selectors, one_value, single
from millrace.digits.kinds import nothing
from millrace.digits.references import object_words, one_digit
from millrace.digits.scenes.scene import Scene, SceneDigit
from millrace.probing.annotated import UNCLEAR, Truth
from millrace.qa.annotated import Reading
from millrace.qa.writing.answer_vocabulary import LADDERS, NONE, ladder_of, nearest_rung, read_value, rung_percent

__all__ = ["ASPECTS", "CLAIM", "PIPELINE", "SUBJECT", "read_answer", "read_value", "readings", "subjects", "truth"]

CLAIM = "scale_proportion_estimation"
PIPELINE = "object_proportion"
ASPECTS = {"PROPORTION": "percent"}
SUBJECT = {"TARGET_OBJECT": object_words}

OFF_RUNG = 1.25
"""A share of the area further than this factor from every rung is off the ladders."""


def subjects(scene: Scene, rng: Random, *, answerable: bool) -> Iterator[Selectors]:
    """One digit, there or not."""
    return one_digit(scene, rng, "TARGET_OBJECT", answerable=answerable)


def truth(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    """The share to a tenth of a percent, of a digit that can be seen whole."""
    digit = single(scene, selectors["TARGET_OBJECT"])
    if isinstance(digit, Truth):
        return digit
    if digit.visible < WHOLE:
        return UNCLEAR
    return one_value("PROPORTION", f"{_share_of(digit, scene):.1f}%")


def _share_of(digit: SceneDigit, scene: Scene) -> float:
    """How much of the picture's area the digit's box covers, in percent."""
    x0, y0, x1, y1 = digit.box
    return 100 * (x1 - x0) * (y1 - y0) / (scene.width * scene.height)


def readings(scene: Scene, selectors: Mapping[str, Selector], truth: Truth) -> list[Reading]:
    """The nearest rung, and the other rungs of its ladder."""
    if not truth.answerable:
        ladders = enumerate(LADDERS)
        return [
            nothing("percent", dict.fromkeys(ladder, "other_number"), f"percent {number}", presence=True)
            for number, ladder in ladders
        ]
    digit = single(scene, selectors["TARGET_OBJECT"])
    assert isinstance(digit, SceneDigit)
    share = _share_of(digit, scene)
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
    return [Reading("percent", family, (rung,), wrong | {NONE: "absent_subject"}, sole=False, presence=True)]


def read_answer(slot: str, text: str) -> str | None:
    """A percentage."""
    del slot
    return read_kind("percent", text)
