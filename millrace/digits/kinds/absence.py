"""Which part of the picture no digit of a kind is in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

from millrace.digits.claim_vocabulary import read_value as read_kind
from millrace.digits.geometry import Selector, Selectors, members
from millrace.digits.kinds import nothing
from millrace.digits.references import category_words, kinds_of_digits
from millrace.digits.scenes.scene import Scene, SceneDigit
from millrace.lake.places import QUARTERS
from millrace.probing.annotated import NOT_ANSWERABLE, UNCLEAR, Truth
from millrace.qa.annotated import Reading
from millrace.qa.writing.answer_vocabulary import HALVES, NONE, read_value

__all__ = ["ASPECTS", "CLAIM", "PIPELINE", "SUBJECT", "read_answer", "read_value", "readings", "subjects", "truth"]

CLAIM = "absence_negative_reasoning"
PIPELINE = "object_absence"
ASPECTS = {"REGION_DESCRIPTION": "area"}
SUBJECT = {"OBJECT_TYPE": category_words}

FREE, OCCUPIED = 0.0, 0.10
"""Share of a digit's box inside a quarter up to which the quarter is free of it, and from which it is not."""


def subjects(scene: Scene, rng: Random, *, answerable: bool) -> Iterator[Selectors]:
    """Kinds of digits that are there: unanswerable is one that is in every quarter."""
    del answerable
    return kinds_of_digits(scene, rng)


def truth(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    """The quarters that none of them reaches into, where each is clearly free or clearly not."""
    found = members(scene, selectors["OBJECT_TYPE"])
    if not found:
        return UNCLEAR  # of something that is nowhere, every quarter is free: nothing worth asking
    shares = [max(_share_in_quarter(digit, scene, quarter) for digit in found) for quarter in range(4)]
    if any(FREE < share < OCCUPIED for share in shares):
        return UNCLEAR
    free = tuple(name for name, share in zip(QUARTERS, shares, strict=True) if share <= FREE)
    if not free:
        return NOT_ANSWERABLE
    named = free[sum(sum(digit.box) for digit in found) % len(free)]  # any of them: spread evenly over the quarters
    return Truth(True, True, {"REGION_DESCRIPTION": named}, {"REGION_DESCRIPTION": free})


def _share_in_quarter(digit: SceneDigit, scene: Scene, quarter: int) -> float:
    """The share of the digit's box that lies in a quarter of the picture."""
    x0, y0, x1, y1 = digit.box
    row, column = divmod(quarter, 2)
    left, top = column * scene.width / 2, row * scene.height / 2
    wide = max(0.0, min(x1, left + scene.width / 2) - max(x0, left))
    high = max(0.0, min(y1, top + scene.height / 2) - max(y0, top))
    return wide * high / ((x1 - x0) * (y1 - y0))


def readings(scene: Scene, selectors: Mapping[str, Selector], truth: Truth) -> list[Reading]:
    """The quarters that hold one are wrong; where only one half is free, it can be asked for as well."""
    del scene, selectors
    free = truth.accepted.get("REGION_DESCRIPTION", ())
    taken = {name: "occupied_part" for name in QUARTERS if name not in free}
    if not free:
        return [nothing("area", taken, "quarter")]
    found = [Reading("area", "quarter", free, taken | {NONE: "absent_subject"}, sole=len(free) == 1)]
    free_halves = [half for half in HALVES if all(quarter in free for quarter in _quarters_of(half))]
    taken_halves = {half: "occupied_part" for half in HALVES if half not in free_halves}
    if len(free_halves) == 1:
        found.append(Reading("area", "half", tuple(free_halves), taken_halves))
    return found


def _quarters_of(half: str) -> list[str]:
    side = half.split(maxsplit=1)[0]
    return [quarter for quarter in QUARTERS if side in quarter.split()]


def read_answer(slot: str, text: str) -> str | None:
    """One of the four quarters."""
    del slot
    return read_kind("quarter", text)
