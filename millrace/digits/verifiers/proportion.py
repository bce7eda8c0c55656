"""Shares of the picture: by the box around the visible pixels."""

from __future__ import annotations

import math
import re

from millrace.digits.verifiers import Checks, none_or_many, those
from millrace.digits.verifiers._pixels import Evidence, Selectors
from millrace.digits.verifiers._reading import ABSENT

RIGHT_SHARE, WRONG_SHARE = 1.3, 1.5
"""A stated share of the area is right within the first factor of the measured one, wrong beyond the second."""


def read(said: str) -> str | None:
    """The only percentage that is said."""
    numbers = re.findall(r"\d+(?:\.\d+)?(?=%)", said)
    return f"{numbers[0]}%" if len(numbers) == 1 else None


def holds(evidence: Evidence, selectors: Selectors, value: str) -> bool | None:
    """Whether the box takes about that much of the picture."""
    found = those(evidence, selectors["TARGET_OBJECT"])
    if len(found) != 1 or value == ABSENT:
        return none_or_many(found, value)
    x0, y0, x1, y1 = found[0].box
    measured = 100 * (x1 - x0) * (y1 - y0) / (evidence.width * evidence.height)
    off = abs(math.log(float(value.rstrip("%")) / measured))
    return True if off <= math.log(RIGHT_SHARE) else False if off >= math.log(WRONG_SHARE) else None


CHECKS = {"percent": Checks(read, holds)}
