"""Counts: as many as there are marks that are meant."""

from __future__ import annotations

from millrace.digits.verifiers import Checks, those
from millrace.digits.verifiers._pixels import Evidence, Selectors
from millrace.digits.verifiers._reading import one_digit, stated_digit


def holds(evidence: Evidence, selectors: Selectors, value: str) -> bool | None:
    """Whether there are so many."""
    return value == str(len(those(evidence, selectors["OBJECT_TYPE"])))


CHECKS = {"count": Checks(one_digit, holds, stated_digit)}
