"""Directions: between the middles of two things none of whose pixels lie in the other's frame."""

from __future__ import annotations

from millrace.boxes.verifiers import ABSENT, Checks
from millrace.boxes.verifiers._pixels import Evidence, Selectors
from millrace.boxes.verifiers._reading import one_of

AHEAD = 1.5
"""How many times larger the shift along the named direction must be than across it."""
ASIDE = 0.25
"""A shift of less than this share of the larger one is no direction."""

WORDS = {
    "left of": ("left of", "to the left"),
    "right of": ("right of", "to the right"),
    "above": ("above",),
    "below": ("below", "under"),
}


def holds(evidence: Evidence, selectors: Selectors, value: str) -> bool | None:
    """Whether the first thing lies that way from the second."""
    pair = evidence.those(selectors["OBJECT_A"]), evidence.those(selectors["OBJECT_B"])
    first, second = pair
    if first is None or second is None:
        return None
    if value == ABSENT or not first or not second:
        return (value == ABSENT) == (not first or not second)
    if len(first) > 1 or len(second) > 1:
        return None
    one, other = first[0], second[0]
    beside = one.right <= other.left or other.right <= one.left
    if not beside and not (one.bottom <= other.top or other.bottom <= one.top):
        return None
    dx, dy = (one.left + one.right - other.left - other.right) / 2, (one.top + one.bottom - other.top - other.bottom) / 2
    ahead, across = {"left of": (-dx, dy), "right of": (dx, dy), "above": (-dy, dx), "below": (dy, dx)}[value]
    if ahead < ASIDE * abs(across):
        return False
    return True if ahead >= AHEAD * abs(across) else None


CHECKS = {"direction": Checks(lambda said: one_of(said, WORDS), holds, rivals=tuple(WORDS))}
