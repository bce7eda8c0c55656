"""Turns: by the turn in which the drawing fits the pixels best."""

from __future__ import annotations

import re
from collections.abc import Callable

from millrace.digits.verifiers import Checks, none_or_many, those
from millrace.digits.verifiers._pixels import Evidence, Selectors
from millrace.digits.verifiers._reading import ABSENT, one_of

POINTS = {"up": "up", "right": "right", "down": "down", "left": "left", "上": "up", "右": "right", "下": "down", "左": "left"}

TURNS = {
    "turned counter-clockwise": ("turned counter-clockwise", "turned counterclockwise", "逆时针转了"),
    "turned clockwise": ("turned clockwise", "顺时针转了"),
    "upside down": ("upside down", "倒过来的"),
    "upright": ("upright", "正着的"),
}


def read_point(said: str) -> str | None:
    """The only way that is said to be pointed to."""
    found = re.findall(r"\b(up|right|down|left)\b|(?:朝|指向|方向是)([上右下左])|^([上右下左])$", said)
    values = {POINTS[word] for groups in found for word in groups if word}
    return values.pop() if len(values) == 1 else None


def holds(names: tuple[str, ...]) -> Callable[[Evidence, Selectors, str], bool | None]:
    """The check whether the digit is turned in the way named; `names` by clockwise quarter-turns."""

    def check(evidence: Evidence, selectors: Selectors, value: str) -> bool | None:
        found = those(evidence, selectors["OBJECT"])
        if len(found) != 1 or value == ABSENT:
            return none_or_many(found, value)
        return None if found[0].turn is None else names[found[0].turn] == value

    return check


CHECKS = {
    "point": Checks(read_point, holds(("up", "right", "down", "left"))),
    "turn": Checks(
        lambda said: one_of(said, TURNS),
        holds(("upright", "turned clockwise", "upside down", "turned counter-clockwise")),
        rivals=tuple(TURNS),
    ),
}
