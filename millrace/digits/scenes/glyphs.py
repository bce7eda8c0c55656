"""One handwritten digit as a smooth stroke of ink, at any size and angle."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from millrace.digits.scenes.handwriting import FINE, stroke_of

EDGE = 1
"""Pixels kept around the ink on each side of a cut-out glyph: they hold its antialiased rim."""


class Glyph(NamedTuple):
    """A digit's ink, cut out tightly with a border of `EDGE` pixels."""

    alpha: NDArray[np.float32]
    """(H, W) coverage 0..1; a pixel is ink where it is at least one half."""
    height: NDArray[np.float32]
    """(H, W) how much ink the pen left, 0..~1."""


def draw_glyph(source: int, *, extent: float, turn: int = 0, tilt: float = 0.0) -> Glyph:
    """Draw digit number `source` so that the longer side of its upright ink is about `extent` pixels.

    `turn` counts clockwise quarter-turns, `tilt` adds clockwise radians.
    """
    stroke = stroke_of(source)
    assert stroke is not None, "pools hold legible digits only"
    scale = extent / (stroke.extent * FINE)
    angle = turn * math.pi / 2 + tilt
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    middle = stroke.field.width / 2
    reach = math.ceil(stroke.field.width * scale * (abs(math.cos(tilt)) + abs(math.sin(tilt))))
    centre = reach / 2
    # PIL maps output to source: turn back and scale down, about both middles.
    matrix = (cos, sin, middle - (cos + sin) * centre, -sin, cos, middle + (sin - cos) * centre)
    drawn = stroke.field.transform((reach, reach), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    height = np.asarray(drawn, dtype=np.float32)
    softness = 1.3 * stroke.slope / FINE / scale  # a little over one output pixel from paper to ink
    alpha = np.clip((height - np.float32(stroke.level)) / np.float32(softness) + np.float32(0.5), 0, 1)
    inside = alpha >= 0.5
    ys, xs = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    cut = np.s_[ys[0] - EDGE : ys[-1] + 1 + EDGE, xs[0] - EDGE : xs[-1] + 1 + EDGE]
    return Glyph(alpha[cut], height[cut])
