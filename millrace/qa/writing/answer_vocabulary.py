"""The answers that questions can have, by aspect, in one spelling that has no language.

An aspect is what is asked about a subject: its region, how many there are, which way it is turned. Claims and baselines speak in
words; `read_value` puts those into the one spelling here, or says None.
"""

from __future__ import annotations

import math
import re

from millrace.lake.places import DIRECTIONS, PLACES, POINTS, QUARTERS, REGIONS, TURNS

NONE = "none"
"""The answer that what is asked about is not there (of an area: that every part holds one)."""

HALVES = ("top half", "bottom half", "left half", "right half")
COUNTS = tuple(str(count) for count in range(8))
LADDERS = (("0.7%", "1.4%", "2.8%", "5.5%", "11%", "22%"), ("1%", "2%", "4%", "8%", "16%", "32%"))
"""Two scales of area shares in steps of two, half a step apart: the rung nearest to any share is within a fifth of it, and its
neighbours on the same ladder are clearly wrong."""

VALUES: dict[str, tuple[str, ...]] = {
    "region": REGIONS,
    "direction": DIRECTIONS,
    "place": PLACES,
    "percent": (*LADDERS[0], *LADDERS[1]),
    "count": COUNTS,
    "area": (*QUARTERS, *HALVES),
    "point": POINTS,
    "turn": TURNS,
}
"""Aspect → every answer to it but `NONE`, where the answers do not depend on what kind of things is asked about."""

_SAME = {"center": "centre", "central": "centre", "upper": "top", "lower": "bottom", "middle centre": "centre", "upwards": "up"}


def read_value(aspect: str, words: str) -> str | None:
    """The value that a claim, a judge or a baseline meant; None when the words are none of the aspect's values.

    A percentage becomes the nearest rung of the ladders.
    """
    text = re.sub(r"[\s_]+", " ", words.strip().strip(".").casefold())
    if text in ("not related", "none", "n/a"):
        return "0" if aspect == "count" else NONE
    if aspect not in VALUES:
        return None
    if aspect == "count":
        numbers = re.findall(r"\d+", text)
        value = str(int(numbers[0])) if len(numbers) == 1 else ""
        return value if value in VALUES[aspect] else None
    if aspect == "percent":
        numbers = re.findall(r"\d+(?:\.\d+)?", text)
        return nearest_rung(float(numbers[0])) if len(numbers) == 1 and float(numbers[0]) > 0 else None
    for word, usual in _SAME.items():
        text = re.sub(rf"\b{word}\b", usual, text)
    text = text.removesuffix(" quarter").removesuffix(" quadrant").removeprefix("the ").removesuffix(" it")
    return text if text in VALUES[aspect] else None


def nearest_rung(percent: float, ladders: tuple[tuple[str, ...], ...] = LADDERS) -> str:
    """The rung nearest to `percent` by ratio."""
    rungs = [rung for ladder in ladders for rung in ladder]
    return min(rungs, key=lambda rung: abs(math.log(percent / rung_percent(rung))))


def rung_percent(rung: str) -> float:
    """`5.5%` as 5.5."""
    return float(rung.rstrip("%"))


def ladder_of(rung: str) -> tuple[str, ...]:
    """The ladder that has this rung."""
    return next(ladder for ladder in LADDERS if rung in ladder)
