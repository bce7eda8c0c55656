"""Which digit is the largest: by the extent of its visible pixels."""

from __future__ import annotations

from millrace.digits.verifiers import Checks
from millrace.digits.verifiers._pixels import Evidence, Selectors
from millrace.digits.verifiers._reading import ABSENT, one_digit, stated_digit

LARGER = 1.1
"""How many times longer the longest mark must be than the next."""


def holds(evidence: Evidence, selectors: Selectors, value: str) -> bool | None:
    """Whether the largest mark is a drawing of that digit."""
    del selectors
    ranked = sorted(evidence.marks, key=lambda mark: -mark.extent)
    if value == ABSENT or not ranked:
        return value == ABSENT and not ranked
    if len(ranked) > 1 and ranked[0].extent < LARGER * ranked[1].extent:
        return None
    return str(ranked[0].label) == value


CHECKS = {"label": Checks(one_digit, holds, stated_digit, subject=False)}
