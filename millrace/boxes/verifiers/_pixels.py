"""Boxes and masks drawn into a grid of pixels, and what can be measured there.

The grid has the picture's shape, at most 640 pixels on its longer side: a photograph of any size costs the same. The size of the
picture comes from decoding it, the boxes from the annotation's bytes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, NotRequired, TypedDict

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from millrace.errors import ItemFailed
from millrace.lake.images import decode_image

if TYPE_CHECKING:
    from millrace.lake.rows import LakeRow


class _Thing(msgspec.Struct):
    label: str
    box: list[float] | None = None
    mask: list[list[float]] | None = None
    attributes: dict[str, str] = {}


class _Told(msgspec.Struct):
    """The annotation's bytes, read anew."""

    things: list[_Thing]
    absent: list[str] = []
    incomplete: list[str] = []


class Selector(TypedDict):
    """Which things are meant."""

    label: str
    attributes: NotRequired[dict[str, str]]


Selectors = dict[str, Selector]

LONGER_SIDE = 640
TINY = 0.015
"""A thing whose longer side is less than this share of the picture's longer side is too small to be counted on."""
MAY_BE_ONE = 0.6
"""Two things of one label that share more than this of their pixels may be one."""


class Mark(NamedTuple):
    """One thing as the grid shows it."""

    label: str
    attributes: dict[str, str]
    pixels: NDArray[np.bool_]
    """Cut out: from its left and top to its right and bottom."""
    left: int
    top: int
    right: int
    bottom: int
    """Half-open, around its pixels."""


class Evidence(NamedTuple):
    """All things in one picture."""

    width: int
    height: int
    marks: tuple[Mark, ...]
    absent: frozenset[str]
    incomplete: frozenset[str]

    @property
    def labels(self) -> set[str]:
        """What the picture is known to show."""
        return {mark.label for mark in self.marks}

    def those(self, selector: Selector) -> list[Mark] | None:
        """The marks that are meant; None when it can't be told which they are."""
        label, wanted = selector["label"], selector.get("attributes") or {}
        words = set(label.lower().split())
        if any(words < set(mark.label.lower().split()) for mark in self.marks):
            return None  # a longer label says the same and more
        alike = [mark for mark in self.marks if mark.label == label]
        if label in self.incomplete or (not alike and label not in self.absent):
            return None
        for at, mark in enumerate(alike):
            longer = max(mark.right - mark.left, mark.bottom - mark.top)
            crowd = any(mark.attributes.get(name, "0").lower() not in ("0", "false", "no") for name in ("crowd", "iscrowd"))
            unknown = any(key not in mark.attributes for key in wanted)
            if longer < TINY * max(self.width, self.height) or crowd or unknown:
                return None
            for other in alike[:at]:
                both = _shared(mark, other)
                if both > MAY_BE_ONE * (int(mark.pixels.sum()) + int(other.pixels.sum()) - both):
                    return None
        return [mark for mark in alike if all(mark.attributes[key] == value for key, value in wanted.items())]


def draw(row: LakeRow) -> Evidence:
    """Draw a row's boxes.

    Raises:
        ItemFailed: the picture can't be decoded, or a box shows no pixel ("views_disagree").
    """
    assert row.annotation is not None
    return _drawn(row.annotation.data, row.image_bytes)


@lru_cache(maxsize=4)
def _drawn(data: bytes, image: bytes) -> Evidence:
    picture = decode_image(image)
    scale = min(1.0, LONGER_SIDE / max(picture.size))
    width, height = (max(1, round(side * scale)) for side in picture.size)
    told = msgspec.json.decode(data, type=_Told)
    marks = tuple(_mark(thing, width, height, scale) for thing in told.things)
    return Evidence(width, height, marks, frozenset(told.absent), frozenset(told.incomplete))


def within(mark: Mark, left: int, top: int, right: int, bottom: int) -> NDArray[np.bool_]:
    """The mark's pixels in a part of the grid."""
    rows = slice(max(top - mark.top, 0), max(bottom - mark.top, 0))
    return mark.pixels[rows, max(left - mark.left, 0) : max(right - mark.left, 0)]


def _shared(one: Mark, other: Mark) -> int:
    """Pixels that two marks have in common."""
    left, top = max(one.left, other.left), max(one.top, other.top)
    right, bottom = min(one.right, other.right), min(one.bottom, other.bottom)
    if left >= right or top >= bottom:
        return 0
    return int((within(one, left, top, right, bottom) & within(other, left, top, right, bottom)).sum())


def _mark(thing: _Thing, width: int, height: int, scale: float) -> Mark:
    if thing.mask:
        outlines = [[value * scale for value in polygon] for polygon in thing.mask]
    else:
        box = thing.box or []
        x, y, wide, high = (round(value * scale) for value in (*box[:2], *_far_corner(box)))
        outlines = [[x, y, max(x, wide - 1), y, max(x, wide - 1), max(y, high - 1), x, max(y, high - 1)]]
    values = [value for outline in outlines for value in outline]
    left, top = max(0, int(min(values[::2])) - 1), max(0, int(min(values[1::2])) - 1)
    right, bottom = min(width, int(max(values[::2])) + 2), min(height, int(max(values[1::2])) + 2)
    canvas = Image.new("1", (max(1, right - left), max(1, bottom - top)))
    pen = ImageDraw.Draw(canvas)
    for outline in outlines:
        pen.polygon([value - (left, top)[place % 2] for place, value in enumerate(outline)], fill=1)
    pixels = np.asarray(canvas)
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not len(rows):
        raise ItemFailed("views_disagree", f"the box of '{thing.label}' shows no pixel of the picture")
    sides = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    cut = pixels[sides[1] : sides[3], sides[0] : sides[2]]
    return Mark(thing.label, thing.attributes, cut, *(side + (left, top)[at % 2] for at, side in enumerate(sides)))


def _far_corner(box: list[float]) -> tuple[float, float]:
    return box[0] + box[2], box[1] + box[3]
