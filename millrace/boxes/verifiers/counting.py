"""Counts: as many as there are marks that are surely different things."""

from __future__ import annotations

from millrace.boxes.verifiers import Checks
from millrace.boxes.verifiers._pixels import Evidence, Selectors
from millrace.boxes.verifiers._reading import one_number


def holds(evidence: Evidence, selectors: Selectors, value: str) -> bool | None:
    """Whether there are so many."""
    found = evidence.those(selectors["OBJECT_TYPE"])
    return None if found is None else value == str(len(found))


CHECKS = {"count": Checks(one_number, holds)}
