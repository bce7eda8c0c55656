"""Places among like digits: by the means of their visible pixels."""

from __future__ import annotations

import math

from millrace.digits.verifiers import BORDER, Checks, is_meant, those
from millrace.digits.verifiers._pixels import Evidence, Mark, Selectors
from millrace.digits.verifiers._reading import ABSENT, one_of
from millrace.records.outcome import Selector

LARGER = 1.1
"""How many times longer the longest mark must be than the next; the same for the shortest."""

PLACES = {
    "leftmost": ("leftmost", "最左边"),
    "rightmost": ("rightmost", "最右边"),
    "topmost": ("topmost", "最上面"),
    "bottommost": ("bottommost", "最下面"),
}


def holds(evidence: Evidence, selectors: Selectors, value: str) -> bool | None:
    """Whether the digit with the feature lies furthest out on that side."""
    members = those(evidence, selectors["OBJECT_CATEGORY"])
    chosen = _featured(members, selectors["DISTINCTIVE_FEATURE"])
    if chosen is None or len(chosen) > 1:
        return None
    if value == ABSENT or not chosen:
        return (value == ABSENT) == (not chosen)
    others = [mark for mark in members if mark.number != chosen[0].number]
    side = {"leftmost": (1, 0), "rightmost": (-1, 0), "topmost": (0, 1), "bottommost": (0, -1)}[value]
    reach = [side[0] * mark.x / evidence.width + side[1] * mark.y / evidence.height for mark in (chosen[0], *others)]
    lead = min(reach[1:], default=math.inf) - reach[0]
    return True if lead > BORDER else False if lead < -BORDER else None


def _featured(members: list[Mark], feature: Selector) -> list[Mark] | None:
    """Those that have the feature; None when that can't be told."""
    if "extreme" in feature:
        ranked = sorted(members, key=lambda mark: mark.extent, reverse=feature["extreme"] == "largest")
        if len(ranked) < 2:
            return []
        sizes = sorted((ranked[0].extent, ranked[1].extent))
        return ranked[:1] if sizes[1] >= LARGER * sizes[0] else None
    if "turn" in feature:
        unsure = [mark for mark in members if mark.turn is None and mark.label in (2, 3, 4, 5, 7)]
        return None if unsure else [mark for mark in members if mark.turn == feature["turn"] and mark.label in (3, 4, 7)]
    return [mark for mark in members if is_meant(mark, feature)]


CHECKS = {"place": Checks(lambda said: one_of(said, PLACES), holds, rivals=tuple(PLACES))}
