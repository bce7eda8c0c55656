"""Boxes and masks drawn into a grid of pixels, and what can be measured there.

The grid has the picture's shape, at most 640 pixels on its longer side: a photograph of any size costs the same. The size of the
picture comes from decoding it, the boxes from the annotation's bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from millrace.errors import ItemFailed
from millrace.lake.images import decode_image

if TYPE_CHECKING:
    from millrace.lake.rows import LakeRow

Selectors = Mapping[str, Mapping[str, Any]]

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

    def those(self, selector: Mapping[str, Any]) -> list[Mark] | None:
        """The marks that are meant; None when it can't be told which they are."""
        label, wanted = selector["label"], selector.get("attributes") or {}
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
                both = int((mark.pixels & other.pixels).sum())
                if both > MAY_BE_ONE * int((mark.pixels | other.pixels).sum()):
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
    told = json.loads(data)
    marks = tuple(_mark(thing, width, height, scale) for thing in told["things"])
    return Evidence(width, height, marks, frozenset(told.get("absent", ())), frozenset(told.get("incomplete", ())))


def _mark(thing: dict[str, Any], width: int, height: int, scale: float) -> Mark:
    canvas = Image.new("1", (width, height))
    pen = ImageDraw.Draw(canvas)
    if thing.get("mask"):
        for polygon in thing["mask"]:
            pen.polygon([value * scale for value in polygon], fill=1)
    else:
        x, y, wide, high = (value * scale for value in thing["box"])
        pen.rectangle((round(x), round(y), max(round(x), round(x + wide) - 1), max(round(y), round(y + high) - 1)), fill=1)
    pixels = np.asarray(canvas)
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not len(rows):
        raise ItemFailed("views_disagree", f"the box of '{thing['label']}' shows no pixel of the picture")
    sides = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    return Mark(thing["label"], dict(thing.get("attributes") or {}), pixels, *sides)
