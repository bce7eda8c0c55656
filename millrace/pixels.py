"""Which image files are read, and what any of them is as 8-bit RGB: one rule for the lake and for all that is shown to models."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Formats that are decoded. Not all that Pillow knows: some of its readers start other programs (EPS starts Ghostscript)."""

_STORED = "_stored_bytes"


@lru_cache(maxsize=1)
def known_formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow can read."""
    Image.init()  # registers every reader; Image.open with a list of formats expects them registered
    return tuple(name for name in FORMATS if name in Image.OPEN)


def upright(image: Image.Image) -> Image.Image:
    """The picture turned the way its EXIF says."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 - unreadable EXIF says nothing about the pixels: they are kept as they lie
        return image


def as_rgb(image: Image.Image) -> Image.Image:
    """Any mode as 8-bit RGB: transparency on white, 16 bits scaled (not cut off) to 8, palettes and CMYK converted."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image.copy()
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return Image.fromarray(_eight_bit(np.asarray(image, dtype=np.float64), image.mode)).convert("RGB")
    if "transparency" in image.info or image.mode in {"RGBA", "LA", "PA", "La", "RGBa"}:
        rgba = image.convert("RGBA")
        paper = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, rgba).convert("RGB")
    return image.convert("RGB")


def with_stored_bytes(image: Image.Image, data: bytes) -> Image.Image:
    """`image`, which knows the bytes it was decoded from; a copy or a changed picture made of it does not."""
    setattr(image, _STORED, data)
    return image


def stored_bytes(image: Image.Image) -> bytes | None:
    """The bytes that `image` was decoded from; None where they are not known."""
    found: bytes | None = getattr(image, _STORED, None)
    return found


def _eight_bit(values: np.ndarray[Any, np.dtype[np.float64]], mode: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Grey values of more than 8 bits, scaled by what the mode means and not by the picture's own brightest pixel."""
    if mode == "F":
        values = np.nan_to_num(values, nan=0.0, posinf=255.0, neginf=0.0)
        values = values * 255.0 if values.max(initial=0.0) <= 1.0 else values
    else:
        values = values / 257.0  # 65535 becomes 255
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
