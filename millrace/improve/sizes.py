"""An arm at another size: what it is called, and what it is called after."""

from __future__ import annotations

import re

from millrace.improve.settings import ImproveSettings

SCALED = ("untargeted", "targeted")
"""The arms of the scaling curve."""

_SIZED = re.compile(r"(?P<arm>.+)_x(?P<size>\d+(p\d+)?)")


def name_of(arm: str, size: float) -> str:
    """`targeted_x0p5`; of the size 1 the arm itself."""
    return arm if size == 1 else f"{arm}_x{size:g}".replace(".", "p")


def split_name(name: str) -> tuple[str, float]:
    """(arm, size) of a name; the size of an arm itself is 1."""
    found = _SIZED.fullmatch(name)
    return (found["arm"], float(found["size"].replace("p", "."))) if found else (name, 1.0)


def sizes_asked(settings: ImproveSettings) -> list[tuple[str, float]]:
    """(arm, size) of every training set beside the arms themselves."""
    return [
        (arm, size)
        for arm in SCALED
        if arm in settings.arms
        for size in settings.scaling
        if size != 1 and (arm == "untargeted" or size < 1)
    ]
