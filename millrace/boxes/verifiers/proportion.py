"""Shares of the area: of the frame around the thing's pixels."""

from __future__ import annotations

import math
import re

from millrace.boxes.verifiers import ABSENT, Checks
from millrace.boxes.verifiers._pixels import Evidence, Selectors

RIGHT, WRONG = 1.3, 1.5
"""A stated share is right within the first factor of the measured one, wrong beyond the second."""


def read(said: str) -> str | None:
    """The only percentage that is said."""
    numbers = set(re.findall(r"\d+(?:\.\d+)?(?=\s*%)", said))
    return numbers.pop() if len(numbers) == 1 else None


def holds(evidence: Evidence, selectors: Selectors, value: str) -> bool | None:
    """Whether the frame covers that share of the picture."""
    found = evidence.those(selectors["TARGET_OBJECT"])
    if found is None or len(found) > 1:
        return None
    if value == ABSENT or not found:
        return (value == ABSENT) == (not found)
    mark = found[0]
    measured = 100 * (mark.right - mark.left) * (mark.bottom - mark.top) / (evidence.width * evidence.height)
    off = abs(math.log(float(value) / measured))
    return True if off <= math.log(RIGHT) else False if off >= math.log(WRONG) else None


CHECKS = {"percent": Checks(read, holds)}
