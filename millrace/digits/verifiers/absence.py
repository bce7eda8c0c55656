"""Parts of the picture that are free of digits of a kind: by their visible pixels there."""

from __future__ import annotations

from millrace.digits.verifiers import Checks, those
from millrace.digits.verifiers._pixels import Evidence, Selectors
from millrace.digits.verifiers._reading import ABSENT, one_of

FEW_PIXELS = 4
"""So many pixels of a digit in a part of the picture make the part occupied; fewer (but some) leave it undecided."""

HALVES = {
    "top half": ("top half", "上半部分"),
    "bottom half": ("bottom half", "下半部分"),
    "left half": ("left half", "左半部分"),
    "right half": ("right half", "右半部分"),
}
QUARTERS = {
    "top left": ("top left", "左上"),
    "top right": ("top right", "右上"),
    "bottom left": ("bottom left", "左下"),
    "bottom right": ("bottom right", "右下"),
}


def holds(evidence: Evidence, selectors: Selectors, value: str) -> bool | None:
    """Whether no pixel of such a digit is in that part."""
    members = [mark.number for mark in those(evidence, selectors["OBJECT_TYPE"])]
    ink = sum((evidence.owner == number for number in members), start=evidence.owner > 255)
    middle_x, middle_y = evidence.width // 2, evidence.height // 2
    rows = {"top": slice(0, middle_y), "bottom": slice(middle_y, None)}
    columns = {"left": slice(0, middle_x), "right": slice(middle_x, None)}
    if value == ABSENT:
        return all(int(ink[row, column].sum()) >= FEW_PIXELS for row in rows.values() for column in columns.values())
    words = value.split()
    row = next((rows[word] for word in words if word in rows), slice(None))
    column = next((columns[word] for word in words if word in columns), slice(None))
    there = int(ink[row, column].sum())
    return True if there == 0 else False if there >= FEW_PIXELS else None


CHECKS = {"area": Checks(lambda said: one_of(said, {**HALVES, **QUARTERS}), holds, rivals=tuple(QUARTERS))}
