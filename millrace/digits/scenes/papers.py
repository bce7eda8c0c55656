"""The sheets that digit scenes are written on: tinted paper with fibres, some of it ruled, lit softly from one side."""

from __future__ import annotations

from functools import lru_cache
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Canvas = NDArray[np.float32]
"""(H, W, 3) RGB, 0 to 255."""

PAPERS: dict[str, tuple[tuple[int, int, int], float]] = {
    "white": ((249, 248, 244), 0.6),
    "cream": ((247, 239, 221), 0.9),
    "sage": ((222, 232, 215), 0.9),
    "rose": ((244, 225, 220), 0.9),
    "mist": ((219, 228, 237), 0.9),
    "kraft": ((221, 199, 165), 1.9),
    "ruled": ((250, 249, 245), 0.6),
    "grid": ((249, 249, 247), 0.6),
    "dotted": ((247, 244, 236), 0.7),
    "linen": ((236, 230, 219), 1.0),
}
"""Paper by name: its tint (8-bit RGB) and how strongly its fibres show. All are light, so that every ink stands out."""

_TEXTURE_SIDE = 512
_LINE = np.array([150, 182, 214], dtype=np.float32)
_DOT = np.array([140, 136, 126], dtype=np.float32)


def lay_paper(name: str, rng: Random, side: int) -> Canvas:
    """A fresh sheet of paper `name`, `side` pixels square."""
    tint, fibre = PAPERS[name]
    sheet = np.empty((side, side, 3), dtype=np.float32)
    texture = crop(paper_texture(), rng, side)
    light = _light(rng, side)
    brightness = rng.uniform(0.975, 1.01)
    for channel, value in enumerate(tint):
        sheet[..., channel] = (value * brightness + texture * fibre) * light
    match name:
        case "ruled":
            _lines(sheet, rng, side / rng.uniform(8.5, 11.5), horizontal=True, vertical=False)
        case "grid":
            _lines(sheet, rng, side / rng.uniform(11, 16), horizontal=True, vertical=True)
        case "dotted":
            _dots(sheet, rng, side / rng.uniform(11, 15))
        case "linen":
            _weave(sheet, side)
    return sheet


def crop(texture: NDArray[np.float32], rng: Random, side: int) -> NDArray[np.float32]:
    """A random `side` x `side` window of a texture, flipped at random: cheaper than drawing noise anew, and as varied."""
    y, x = rng.randrange(texture.shape[0] - side + 1), rng.randrange(texture.shape[1] - side + 1)
    window = texture[y : y + side, x : x + side]
    return window[:: rng.choice((1, -1)), :: rng.choice((1, -1))]


@lru_cache(maxsize=1)
def paper_texture() -> NDArray[np.float32]:
    """Fibres and mottling, mean 0, standard deviation about 2."""
    numbers = np.random.Generator(np.random.PCG64(20))
    total = np.zeros((_TEXTURE_SIDE, _TEXTURE_SIDE), dtype=np.float32)
    for cells, weight in ((8, 1.2), (32, 0.8), (128, 0.9), (512, 1.1)):
        octave = Image.fromarray(numbers.standard_normal((cells, cells), dtype=np.float32))
        total += weight * np.asarray(octave.resize((_TEXTURE_SIDE, _TEXTURE_SIDE), Image.Resampling.BICUBIC))
    fibres = numbers.standard_normal((_TEXTURE_SIDE, _TEXTURE_SIDE // 8), dtype=np.float32)
    total += np.asarray(Image.fromarray(fibres).resize((_TEXTURE_SIDE, _TEXTURE_SIDE), Image.Resampling.BICUBIC))
    texture: NDArray[np.float32] = (total - total.mean()) * np.float32(2 / total.std())
    return texture


@lru_cache(maxsize=8)
def _ramp(side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    line = np.linspace(-1, 1, side, dtype=np.float32)
    return line[None, :], line[:, None]


def _light(rng: Random, side: int) -> NDArray[np.float32]:
    """A window to the upper left, more or less: brighter there, a little darker in the far corner."""
    x, y = _ramp(side)
    return 1 - np.float32(rng.uniform(0.0, 0.035)) * x - np.float32(rng.uniform(0.01, 0.045)) * y


def _lines(sheet: Canvas, rng: Random, step: float, *, horizontal: bool, vertical: bool) -> None:
    side = len(sheet)
    start, width = rng.uniform(0.2, 0.9) * step, max(side / 224, 0.75)
    places = np.arange(side, dtype=np.float32) + 0.5
    distance = np.abs((places - start + step / 2) % step - step / 2)
    strength = np.clip(width / 2 + 0.5 - distance, 0, 1) * 0.55
    for wanted, mask in ((horizontal, strength[:, None, None]), (vertical, strength[None, :, None])):
        if wanted:
            sheet += (_LINE - sheet) * mask


def _dots(sheet: Canvas, rng: Random, step: float) -> None:
    side = len(sheet)
    places = np.arange(side, dtype=np.float32) + 0.5
    near = (places - rng.uniform(0.3, 0.7) * step + step / 2) % step - step / 2
    distance = np.hypot(near[:, None], near[None, :])
    mask = np.clip(side / 224 * 1.1 + 0.5 - distance, 0, 1)[..., None] * np.float32(0.6)
    sheet += (_DOT - sheet) * mask


def _weave(sheet: Canvas, side: int) -> None:
    places = np.arange(side, dtype=np.float32) * np.float32(np.pi * 224 / side / 2)
    sheet += (np.sin(places)[:, None, None] * np.cos(places * 0.5)[None, :, None]) * np.float32(3.0)
