"""Directions between two digits: by the means of their visible pixels, and by which of them covers the other."""

from __future__ import annotations

from millrace.digits.verifiers import Checks, those
from millrace.digits.verifiers._pixels import Evidence, Selectors
from millrace.digits.verifiers._reading import ABSENT, one_of

AHEAD = 1.4
"""How many times larger the shift along the named direction must be than across it."""
ASIDE = 0.15
"""A shift of less than this share of the larger one is no direction."""
COVERED_PIXELS = 8
"""Ink of one digit that another's pixels must cover before one is in front."""

DIRECTIONS = {
    "left of": ("left of", "to the left", "左边"),
    "right of": ("right of", "to the right", "右边"),
    "above": ("above", "上面"),
    "below": ("below", "under", "下面"),
    "in front of": ("in front of", "前面"),
    "behind": ("behind", "后面"),
}


def holds(evidence: Evidence, selectors: Selectors, value: str) -> bool | None:
    """Whether the first lies that way, seen from the second."""
    pair = those(evidence, selectors["OBJECT_A"]), those(evidence, selectors["OBJECT_B"])
    missing = any(not found for found in pair)
    if value == ABSENT or missing:
        return (value == ABSENT) == missing
    if any(len(found) > 1 for found in pair) or pair[0][0].number == pair[1][0].number:
        return None
    first, second = pair[0][0], pair[1][0]
    hidden = int((first.drawn & (evidence.owner == second.number)).sum())
    hiding = int((second.drawn & (evidence.owner == first.number)).sum())
    covers = max(hidden, hiding) >= COVERED_PIXELS
    if value in ("in front of", "behind"):
        if not covers:
            return False
        on_top, below = (hiding, hidden) if value == "in front of" else (hidden, hiding)
        return True if on_top > 2 * below else False if below > 2 * on_top else None
    dx, dy = first.x - second.x, first.y - second.y
    ahead, across = {"left of": (-dx, dy), "right of": (dx, dy), "above": (-dy, dx), "below": (dy, dx)}[value]
    if ahead < ASIDE * abs(across):
        return False
    return True if ahead >= AHEAD * abs(across) and not covers else None


CHECKS = {"direction": Checks(lambda said: one_of(said, DIRECTIONS), holds, rivals=tuple(DIRECTIONS))}
