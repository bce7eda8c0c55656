"""Many small pictures in few files: a browser opens thousands of thumbnails from a folder without a server."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

from millrace.errors import ItemFailed, MillraceError
from millrace.lake.images import decode_image
from millrace.lake.reader import LakeReader
from millrace.records.lake import ImageRef
from millrace.run.journal import write_atomic

SIDE_PX = 160
"""A thumbnail's cell, in pixels: sharp at half its size on a dense screen, enough to see what is asked."""
COLUMNS = 10
PER_SHEET = COLUMNS * COLUMNS
BACKGROUND = (127, 127, 127)
"""Around a picture that is not square, and in place of one that can no longer be read."""


def write_sheets(folder: Path, images: Sequence[ImageRef], lakes: Sequence[LakeReader]) -> int:
    """Write `sheet-000.jpg` … with every picture in its cell, row by row; returns how many could not be read.

    Args:
        folder: where the sheets go.
        images: in the order of the cells.
        lakes: where a picture is looked for, the first that has it.
    """
    unread = 0
    for number in range(math.ceil(len(images) / PER_SHEET)):
        part = images[number * PER_SHEET : (number + 1) * PER_SHEET]
        sheet = Image.new("RGB", (COLUMNS * SIDE_PX, math.ceil(len(part) / COLUMNS) * SIDE_PX), BACKGROUND)
        for place, ref in enumerate(part):
            picture = _picture(ref, lakes)
            if picture is None:
                unread += 1
                continue
            picture.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)
            left = (place % COLUMNS) * SIDE_PX + (SIDE_PX - picture.width) // 2
            top = (place // COLUMNS) * SIDE_PX + (SIDE_PX - picture.height) // 2
            sheet.paste(picture, (left, top))
        file = BytesIO()
        sheet.save(file, "JPEG", quality=82)
        write_atomic(folder / f"sheet-{number:03}.jpg", file.getvalue())
    return unread


def _picture(ref: ImageRef, lakes: Sequence[LakeReader]) -> Image.Image | None:
    for lake in lakes:
        try:
            return decode_image(lake.read(ref).image_bytes)
        except (ItemFailed, MillraceError, OSError):
            continue
    return None
