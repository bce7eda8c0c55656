"""Parts of the picture: by the mean of the visible pixels."""

from __future__ import annotations

from millrace.digits.verifiers import BORDER, Checks, none_or_many, those
from millrace.digits.verifiers._pixels import Evidence, Selectors
from millrace.digits.verifiers._reading import ABSENT, one_of

PARTS = {
    "top left": ("top left", "upper left", "左上"),
    "top centre": ("top centre", "top center", "上方中间"),
    "top right": ("top right", "upper right", "右上"),
    "middle left": ("middle left", "centre left", "左侧中间"),
    "middle right": ("middle right", "centre right", "右侧中间"),
    "bottom left": ("bottom left", "lower left", "左下"),
    "bottom centre": ("bottom centre", "bottom center", "下方中间"),
    "bottom right": ("bottom right", "lower right", "右下"),
    "centre": ("centre", "center", "正中央"),
}


def holds(evidence: Evidence, selectors: Selectors, value: str) -> bool | None:
    """Whether the digit's mean is in that part."""
    found = those(evidence, selectors["TARGET_OBJECT"])
    if len(found) != 1 or value == ABSENT:
        return none_or_many(found, value)
    x, y = found[0].x / evidence.width, found[0].y / evidence.height
    vertical = {"top": 0, "middle": 1, "bottom": 2}.get(value.split(maxsplit=1)[0], 1)
    horizontal = {"left": 0, "right": 2}.get(value.rsplit(maxsplit=1)[-1], 1)
    sure = _within(x, horizontal / 3, (horizontal + 1) / 3), _within(y, vertical / 3, (vertical + 1) / 3)
    return False if False in sure else None if None in sure else True


def _within(place: float, low: float, high: float) -> bool | None:
    if low + (BORDER if low > 0 else 0) <= place < high - (BORDER if high < 1 else 0):
        return True
    return False if place < low - BORDER or place >= high + BORDER else None


CHECKS = {"region": Checks(lambda said: one_of(said, PARTS), holds, rivals=tuple(PARTS))}
