"""One picture of a source, still encoded, and which names are those of pictures."""

from __future__ import annotations

from typing import Any, NamedTuple

from millrace.errors import ItemFailed

IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".ppm", ".pgm"),
    *(".heic", ".heif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2"),
)
"""Endings of pictures. Those of the second line cannot be decoded: their files are named among the refused, not passed over."""


class Found(NamedTuple):
    """One picture, or what is in its place."""

    name: str
    """Its path in the source, with the archive's or table's name in front of it."""
    data: bytes | None
    """Its encoded bytes; None where `problem` says why there are none."""
    columns: dict[str, Any] = {}
    """What the source says about it."""
    problem: ItemFailed | None = None
    """Why it cannot be had."""


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for a picture."""
    return name.lower().endswith(IMAGE_ENDINGS)
