"""The 1,797 real handwritten digits that scikit-learn ships, and the pen stroke behind each.

A digit is an 8x8 image of ink coverage 0..16 (UCI "Optical Recognition of Handwritten Digits"). Sharpened and interpolated, the
coverage becomes a smooth height field; the contour at the digit's own stroke level is the edge of the pen stroke.

The data file is read directly: importing scikit-learn costs a second and 100 MB, and every torchrun rank may come here.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from millrace.errors import InputError


class DigitImages(NamedTuple):
    """Every handwritten digit, in scikit-learn's order."""

    ink: NDArray[np.uint8]
    """(1797, 8, 8), 0 = paper, 16 = full ink."""
    labels: NDArray[np.uint8]
    """(1797,), 0 to 9."""


@lru_cache(maxsize=1)
def load_digit_images() -> DigitImages:
    """All digits with their labels. Raises `InputError` when scikit-learn's data file is not where it ships."""
    spec = importlib.util.find_spec("sklearn")
    path = Path(spec.origin or "").parent / "datasets" / "data" / "digits.csv.gz" if spec else None
    if path is None or not path.is_file():
        raise InputError(f"scikit-learn's digits.csv.gz was not found (looked at {path}); reinstall scikit-learn")
    rows = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    return DigitImages(rows[:, :64].reshape(-1, 8, 8), rows[:, 64].copy())


class Stroke(NamedTuple):
    """One digit's height field and where its edge lies."""

    field: Image.Image
    """Mode "F", `FINE` times finer than the source: the sharpened coverage with paper around it, peak near 1."""
    level: float
    """The height at which the stroke ends."""
    extent: float
    """Longer side of the ink, in source pixels."""
    slope: float
    """Typical change of height per source pixel at the edge: decides how wide its antialiasing is."""


MARGIN = 2
"""Paper around a digit in source pixels, so that the interpolation sees paper on every side."""

SHARPENING, SHARPENING_SIGMA = 0.8, 1.2
"""Unsharp mask on the 8x8 grid: opens the eyes of 4, 6, 8 and 9 that the sampling has half closed."""

HOLES = {0: (1,), 1: (0,), 2: (0, 1), 3: (0,), 4: (0, 1), 5: (0,), 6: (1,), 7: (0,), 8: (2,), 9: (1,)}
"""How many closed loops a legible digit of each label has."""

FINE = 6
"""The height field has this many points per source pixel: its contour is smooth there, and a thousand fields still take 20 MB."""

MAX_THICKNESS = 0.35
"""A pen line is thinner than this share of its digit; thicker ones are blots (mostly of 1), which nobody could name."""

_LEVELS = np.arange(0.30, 0.80, 0.05)


@lru_cache(maxsize=2048)
def stroke_of(source: int) -> Stroke | None:
    """The stroke of digit number `source`; None when it is a blot, or no level makes it one
    connected line with the loops its label has."""
    ink, labels = load_digit_images()
    field = np.pad(ink[source].astype(np.float32) / ink[source].max(), MARGIN)
    field += SHARPENING * (field - ndimage.gaussian_filter(field, SHARPENING_SIGMA))
    image = Image.fromarray(field).resize((field.shape[1] * FINE, field.shape[0] * FINE), Image.Resampling.BICUBIC)
    fine = np.asarray(image)
    whole = [level for level in _LEVELS.tolist() if _is_whole(fine >= level, HOLES[int(labels[source])])]
    if not whole:
        return None
    level = whole[len(whole) * 13 // 20]  # thin enough to keep loops open, not so thin that the stroke is about to break
    if _thickness(fine >= level) > MAX_THICKNESS * 0.85:
        level = whole[-1]
    inside = fine >= level
    if _thickness(inside) > MAX_THICKNESS:
        return None
    extent = _extent(inside)
    dy, dx = np.gradient(fine)
    slope = float(np.hypot(dy, dx)[np.abs(fine - level) < 0.08].mean()) * FINE
    return Stroke(image, level, extent / FINE, slope)


def _extent(inside: NDArray[np.bool_]) -> int:
    """The longer side of the ink."""
    ys, xs = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return int(max(ys[-1] - ys[0], xs[-1] - xs[0])) + 1


def _thickness(inside: NDArray[np.bool_]) -> float:
    """The widest disc that fits into the ink, as a share of the ink's longer side."""
    return 2 * float(ndimage.distance_transform_edt(inside).max()) / _extent(inside)


def _is_whole(inside: NDArray[np.bool_], holes: tuple[int, ...]) -> bool:
    """One connected stroke with an allowed number of loops; specks of a few fine pixels count for nothing."""
    _, pieces = ndimage.label(inside, structure=np.ones((3, 3)))
    if pieces != 1:
        return False
    regions, _ = ndimage.label(~inside)
    return int((np.bincount(regions.ravel())[1:] > 6).sum()) - 1 in holes
