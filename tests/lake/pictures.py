"""Small pictures in every format and mode."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image


def encoded(mode: str = "RGB", size: tuple[int, int] = (40, 30), kind: str = "PNG", **options: Any) -> bytes:
    """A small picture in `kind`, with something to see in it."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    picture = Image.fromarray(np.stack([x * 6, y * 8, x + y], axis=-1).astype(np.uint8)).convert(mode)
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
