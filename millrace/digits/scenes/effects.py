"""Nuisances: what makes a scene harder to see without changing what it shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from millrace.digits.scenes.papers import Canvas, crop

PENCILS = ((120, 122, 126), (146, 138, 128), (128, 140, 150))
"""Graphite and grey-brown: clutter has no colour that a digit can have."""

_FINE = 3  # doodles are drawn this much larger, then scaled down: smooth lines


def scatter_clutter(canvas: Image.Image, rng: Random) -> Image.Image:
    """Pencil doodles and confetti under the digits: many shapes, none of them a digit."""
    side = canvas.width
    for _ in range(rng.randint(5, 8)):
        radius = rng.uniform(0.05, 0.12) * side
        pen = _Pen(rng, radius, max(round(rng.uniform(0.008, 0.013) * side * _FINE), 1))
        rng.choice(_DOODLES)(pen)
        strength = rng.uniform(0.55, 0.85)
        mask = pen.sheet.reduce(_FINE).point([round(value * strength) for value in range(256)])
        x, y = rng.uniform(0.04, 0.96) * side, rng.uniform(0.04, 0.96) * side
        canvas.paste(rng.choice(PENCILS), (round(x - mask.width / 2), round(y - mask.height / 2)), mask)
    return canvas


def add_noise(canvas: Canvas, rng: Random) -> Canvas:
    """Sensor grain: mostly in brightness, some in colour."""
    side, strength = len(canvas), np.float32(rng.uniform(15, 22))
    noisy = canvas + crop(_grain(), rng, side)[..., None] * strength
    for channel in range(3):
        noisy[..., channel] += crop(_grain(), rng, side) * (strength * np.float32(0.5))
    return noisy


def dim(canvas: Canvas, rng: Random) -> Canvas:
    """Evening light: a lamp somewhere, the corners in the dark, and the grain of a camera that turns itself up."""
    side = len(canvas)
    line = np.linspace(-1, 1, side, dtype=np.float32)
    x, y = line[None, :] - np.float32(rng.uniform(-0.4, 0.4)), line[:, None] - np.float32(rng.uniform(-0.4, 0.4))
    level = rng.uniform(0.36, 0.48)
    light = np.maximum(np.float32(level) * (1 - np.float32(0.18) * (x * x + y * y)), np.float32(level * 0.6))
    tint = (1.05, 1.0, 0.93) if rng.random() < 0.5 else (0.93, 0.99, 1.08)
    grain = crop(_grain(), rng, side) * np.float32(3.0)
    dimmed = np.empty_like(canvas)
    for channel, share in enumerate(tint):
        dimmed[..., channel] = canvas[..., channel] * (light * np.float32(share)) + grain
    return dimmed


def blur(canvas: Image.Image, rng: Random) -> Image.Image:
    """Out of focus, by an amount that goes with the size of the picture."""
    return canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.0075, 0.0105) * canvas.width))


@lru_cache(maxsize=1)
def _grain() -> NDArray[np.float32]:
    """White noise with a little clumping, mean 0, standard deviation 1."""
    noise = np.random.Generator(np.random.PCG64(21)).standard_normal((640, 640), dtype=np.float32)
    noise += np.float32(0.6) * np.roll(noise, 1, axis=0) + np.float32(0.6) * np.roll(noise, 1, axis=1)
    noise /= noise.std()
    return noise


class _Pen:
    """A small sheet of its own for one doodle, drawn large and scaled down later."""

    def __init__(self, rng: Random, radius: float, width: int) -> None:
        self.rng, self.radius, self.width = rng, radius * _FINE, width
        self.turn = rng.uniform(0, math.tau)
        half = math.ceil(self.radius + width)
        self.sheet = Image.new("L", (2 * half, 2 * half))
        self._draw, self._middle = ImageDraw.Draw(self.sheet), half

    def line(self, points: Sequence[tuple[float, float]], *, closed: bool = False) -> None:
        """A line through points given in units of the radius, around the middle, turned."""
        placed = self._placed(points)
        self._draw.line([*placed, *placed[:2]] if closed else placed, fill=255, width=self.width, joint="curve")

    def fill(self, points: Sequence[tuple[float, float]]) -> None:
        """A filled polygon."""
        self._draw.polygon(self._placed(points), fill=255)

    def _placed(self, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        cos, sin = math.cos(self.turn) * self.radius, math.sin(self.turn) * self.radius
        return [(self._middle + a * cos - b * sin, self._middle + a * sin + b * cos) for a, b in points]


def _polygon(pen: _Pen) -> None:
    corners = pen.rng.choice((3, 3, 4))
    pen.line([_polar(1, i / corners) for i in range(corners)], closed=True)


def _star(pen: _Pen) -> None:
    pen.line([_polar(1 if i % 2 else 0.42, i / 10) for i in range(10)], closed=True)


def _zigzag(pen: _Pen) -> None:
    pen.line([(i / 3 - 1, 0.32 if i % 2 else -0.32) for i in range(7)])


def _spiral(pen: _Pen) -> None:
    pen.line([_polar(i / 60, i * 0.05) for i in range(61)])


def _burst(pen: _Pen) -> None:
    for i in range(4):
        pen.line([_polar(1, i / 8), _polar(-1, i / 8)])


def _confetti(pen: _Pen) -> None:
    for _ in range(6):
        x, y = pen.rng.uniform(-0.8, 0.8), pen.rng.uniform(-0.8, 0.8)
        turn, size = pen.rng.random(), pen.rng.uniform(0.1, 0.2)
        corners = [_polar(size, turn + i / 3) for i in range(3)]
        pen.fill([(x + a, y + b) for a, b in corners])


def _polar(radius: float, turns: float) -> tuple[float, float]:
    return radius * math.cos(turns * math.tau), radius * math.sin(turns * math.tau)


_DOODLES: tuple[Callable[[_Pen], None], ...] = (_polygon, _star, _zigzag, _spiral, _burst, _confetti)
