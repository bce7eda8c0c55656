"""Free quarters: where no pixel of a kind lies."""

from __future__ import annotations

from millrace.boxes.verifiers import ABSENT, Checks
from millrace.boxes.verifiers._pixels import Evidence, Selectors
from millrace.boxes.verifiers._reading import one_of

ENOUGH = 0.05
"""So large a share of a thing's pixels in a quarter makes it occupied; less (but some) leaves it undecided."""

QUARTERS = {f"{row} {column}": (f"{row} {column}",) for row in ("top", "bottom") for column in ("left", "right")}


def holds(evidence: Evidence, selectors: Selectors, value: str) -> bool | None:
    """Whether that quarter is free; `ABSENT`: whether none is."""
    found = evidence.those(selectors["OBJECT_TYPE"])
    if not found:
        return None
    if value == ABSENT:
        free = [holds(evidence, selectors, quarter) for quarter in QUARTERS]
        return False if True in free else None if None in free else True
    row, column = value.split()
    middle_x, middle_y = evidence.width / 2, evidence.height / 2
    rows = slice(0, int(middle_y + 0.5)) if row == "top" else slice(int(middle_y), None)
    columns = slice(0, int(middle_x + 0.5)) if column == "left" else slice(int(middle_x), None)
    shares = [mark.pixels[rows, columns].sum() / mark.pixels.sum() for mark in found]
    return True if max(shares) == 0 else False if max(shares) >= ENOUGH else None


CHECKS = {"area": Checks(lambda said: one_of(said, QUARTERS), holds, rivals=tuple(QUARTERS))}
