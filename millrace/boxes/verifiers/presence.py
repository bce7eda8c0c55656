"""Whether something is there at all."""

from __future__ import annotations

import re

from millrace.boxes.verifiers import Checks
from millrace.boxes.verifiers._pixels import Evidence, Selectors


def read(said: str) -> str | None:
    """yes for "at least one object", no for "no object"."""
    some, none = re.search(r"\b(?:at least one|an?|some|any)\s+objects?\b", said), re.search(r"\bno\s+objects?\b", said)
    if said in ("yes", "no"):
        return said
    return None if bool(some) == bool(none) else "yes" if some else "no"


def holds(evidence: Evidence, selectors: Selectors, value: str) -> bool | None:
    """Whether there is one; that there is none must be known."""
    selector = selectors["OBJECT_TYPE"]
    if selector["label"] in evidence.labels and not selector.get("attributes"):
        return value == "yes"
    found = evidence.those(selector)
    return None if found is None else (value == "yes") == bool(found)


def shown(evidence: Evidence, selectors: Selectors, value: str) -> bool | None:
    """Whether the picture shows a thing of that label."""
    del selectors
    if value in {label.casefold() for label in evidence.labels}:
        return True
    return False if value in {label.casefold() for label in evidence.absent} else None


CHECKS = {
    "presence of kind": Checks(read, holds),
    "label shown": Checks(lambda said: said or None, shown, subject=False),
}
