"""What the pixels say about a scene: measured, not read from the annotation.

Positions, extents and what covers what come from the label map (which pixel belongs to which digit); colours from the picture
itself; which digit it is and how it is turned from scikit-learn's own images and targets, compared with the pixels' shape. Of the
annotation only two things are taken: which of scikit-learn's digits a mark is said to be a drawing of, and the frame to lay that
drawing into. Both are checked: the shape has to agree.

Covers: the embedded lake's digit scenes. Does not cover: images without a label map.
"""

from __future__ import annotations

import colorsys
import gzip
import importlib.util
import io
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from millrace.digits.scenes.scene import scene_from_json
from millrace.errors import InputError, ItemFailed
from millrace.lake.images import decode_image
from millrace.lake.rows import LakeRow
from millrace.records.outcome import Selector

HUES = {"red": 355, "orange": 32, "green": 143, "blue": 218, "purple": 282}
"""Degrees on the colour circle. Measured medians of 600 scenes, all within 12 degrees whatever the light."""
MIN_SATURATION, MAX_HUE_ERROR = 0.36, 25
"""Below this saturation ink is black (black ink reached 0.22, coloured ink fell to 0.50 on the same scenes)."""
MIN_LIKENESS, MIN_LEAD = 0.4, 0.05
"""How well a mark must fit the drawing it is said to be, and by how much better in one turn than in the others.

Correlation of 24 x 24 masks. On 1,178 digits the right drawing had 0.43 or more, a third of them covered in part, and the right
turn of a 3, 4 or 7 led by at least 0.07.
"""
INK = 0.46
"""Share of its fullest coverage above which a source pixel counts as ink."""
GRID = (24, 24)

Mask = NDArray[np.bool_]

Selectors = Mapping[str, Selector]
"""By slot: which digits are meant."""


class Mark(NamedTuple):
    """One digit as the pixels show it."""

    number: int
    """Its value in the label map."""
    label: int
    colour: str
    turn: int | None
    """Clockwise quarter-turns; None when two turns fit about equally (a 0, an 8)."""
    box: tuple[int, int, int, int]
    """(x0, y0, x1, y1) around its visible pixels."""
    x: float
    """Mean of its visible pixels, in pixels."""
    y: float
    drawn: Mask
    """The whole picture's size: where its ink would be if nothing covered it."""

    @property
    def extent(self) -> int:
        """The longer side of its box."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])


class Evidence(NamedTuple):
    """All marks of a picture."""

    width: int
    height: int
    marks: tuple[Mark, ...]
    owner: NDArray[np.uint8]
    """The label map."""


def look(row: LakeRow) -> Evidence:
    """Measure a picture.

    Raises:
        ItemFailed: "no_second_view" (there is no label map), "views_disagree" (the pixels contradict what they are said to be).
    """
    if row.annotation is None or row.annotation.second_view is None:
        raise ItemFailed("no_second_view", "the image has no label map to check an answer with")
    owner = np.asarray(Image.open(io.BytesIO(row.annotation.second_view)).convert("L"))
    picture = np.asarray(decode_image(row.image_bytes), dtype=np.float32)
    if picture.shape[:2] != owner.shape:
        raise ItemFailed("views_disagree", f"picture {picture.shape[:2]} and label map {owner.shape} differ in size")
    said = {digit.id: digit for digit in scene_from_json(row.annotation.data).digits}
    found = {int(number) for number in np.unique(owner)} - {0}
    if found != said.keys():
        raise ItemFailed("views_disagree", f"the label map shows the digits {sorted(found)}, the annotation {sorted(said)}")
    marks = tuple(_measure(number, owner == number, picture, said[number].source, said[number].box) for number in sorted(found))
    return Evidence(owner.shape[1], owner.shape[0], marks, owner)


def _measure(number: int, mask: Mask, picture: NDArray[np.float32], source: int, frame: tuple[int, int, int, int]) -> Mark:
    ys, xs = np.nonzero(mask)
    x0, y0, x1, y1 = frame
    if not (0 <= x0 < x1 <= mask.shape[1] and 0 <= y0 < y1 <= mask.shape[0]):
        raise ItemFailed("views_disagree", f"digit {number} is said to lie outside the picture")
    shown = _resized(mask[y0:y1, x0:x1].astype(np.float32), GRID)
    fits = [_correlation(shown, _resized(_drawing(source, turn), GRID)) for turn in range(4)]
    best = int(np.argmax(fits))
    if fits[best] < MIN_LIKENESS:
        raise ItemFailed("views_disagree", f"digit {number} does not look like drawing {source} (likeness {fits[best]:.2f})")
    lead = fits[best] - max(fit for turn, fit in enumerate(fits) if turn != best)
    drawn = np.zeros_like(mask)
    drawn[y0:y1, x0:x1] = _resized(_drawing(source, best), (x1 - x0, y1 - y0)) >= 0.5
    return Mark(
        number=number,
        label=_handwriting()[1][source],
        colour=_colour(picture, mask),
        turn=best if lead >= MIN_LEAD else None,
        box=(int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1),
        x=float(xs.mean()) + 0.5,
        y=float(ys.mean()) + 0.5,
        drawn=drawn,
    )


def _colour(picture: NDArray[np.float32], mask: Mask) -> str:
    """The ink's colour by hue, from the inner pixels of the stroke, where light and paper mix in least."""
    inner = mask.copy()
    for axis in (0, 1):
        for step in (1, -1):
            inner &= np.roll(mask, step, axis)
    ink = np.median(picture[inner if inner.sum() >= 8 else mask], axis=0) / 255
    hue, saturation, _ = colorsys.rgb_to_hsv(*(float(channel) for channel in ink))
    if saturation < MIN_SATURATION:
        return "black"
    off = {name: abs((hue * 360 - degrees + 180) % 360 - 180) for name, degrees in HUES.items()}
    nearest = min(off, key=lambda name: off[name])
    if off[nearest] > MAX_HUE_ERROR:
        raise ItemFailed("views_disagree", f"ink of hue {hue * 360:.0f} is of no colour that a digit can have")
    return nearest


@lru_cache(maxsize=1)
def _handwriting() -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """scikit-learn's digit images (N, 8, 8) and their targets, from the file that ships with it."""
    spec = importlib.util.find_spec("sklearn")
    path = Path(spec.origin or "").parent / "datasets" / "data" / "digits.csv.gz" if spec else None
    if path is None or not path.is_file():
        raise InputError(f"scikit-learn's digits were not found (looked at {path}); reinstall scikit-learn")
    table: NDArray[np.float32] = np.loadtxt(io.BytesIO(gzip.decompress(path.read_bytes())), delimiter=",", dtype=np.float32)
    return (table[:, :64] / np.float32(16)).reshape(-1, 8, 8), tuple(int(target) for target in table[:, 64])


@lru_cache(maxsize=4096)
def _drawing(source: int, turn: int) -> NDArray[np.float32]:
    """The ink of one of scikit-learn's digits, enlarged, turned clockwise by quarter-turns, cut out tightly."""
    images, targets = _handwriting()
    if not 0 <= source < len(targets):
        raise ItemFailed("views_disagree", f"scikit-learn has no digit number {source}")
    coverage = np.pad(images[source] / images[source].max(), 1)
    ink = np.rot90(_resized(coverage, (80, 80), Image.Resampling.BICUBIC), -turn) >= INK
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)


def _resized(
    values: NDArray[np.float32], size: tuple[int, int], how: Image.Resampling = Image.Resampling.BILINEAR
) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(values).resize(size, how))


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    a, b = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm else 0.0
