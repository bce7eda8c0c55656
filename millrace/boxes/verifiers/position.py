"""Parts of the picture: by the middle between the outermost pixels."""

from __future__ import annotations

from millrace.boxes.verifiers import ABSENT, Checks
from millrace.boxes.verifiers._pixels import Evidence, Selectors
from millrace.boxes.verifiers._reading import one_of

BORDER = 0.02
"""Share of the side by which a middle must lie inside a part to count."""

PARTS = {
    f"{row} {column}".strip(): (f"{row} {column}".strip(), f"{row} {column}".strip().replace("centre", "center"))
    for row in ("top", "middle", "bottom")
    for column in ("left", "centre", "right")
    if (row, column) != ("middle", "centre")
} | {"centre": ("centre", "center")}


def holds(evidence: Evidence, selectors: Selectors, value: str) -> bool | None:
    """Whether the thing's middle is in that part."""
    found = evidence.those(selectors["TARGET_OBJECT"])
    if found is None or len(found) > 1:
        return None
    if value == ABSENT or not found:
        return (value == ABSENT) == (not found)
    words = value.split()
    across = {"left": 0, "right": 2}.get(words[-1], 1)
    down = {"top": 0, "bottom": 2}.get(words[0], 1)
    mark = found[0]
    sure = (
        _within((mark.left + mark.right) / 2 / evidence.width, across),
        _within((mark.top + mark.bottom) / 2 / evidence.height, down),
    )
    return False if False in sure else None if None in sure else True


def _within(place: float, third: int) -> bool | None:
    low, high = third / 3, (third + 1) / 3
    if (third == 0 or place >= low + BORDER) and (third == 2 or place <= high - BORDER):
        return True
    return False if place < low - BORDER or place > high + BORDER else None


CHECKS = {"region": Checks(lambda said: one_of(said, PARTS), holds, rivals=tuple(PARTS))}
