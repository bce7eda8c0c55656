"""Recognising an image that was stored anew: another format, another quality, another size.

The 64-bit hash of the low frequencies is the one that N. Krawetz describes as pHash ("Looks Like It", 2011,
https://hackerfactor.com/blog/index.php?/archives/432-Looks-Like-It.html); a thumbnail decides where hashes are near, for
pictures of one kind (the same paper, the same light) have near hashes without being the same picture.

Covers: re-encoding, resizing, slight changes of brightness. Does not cover: crops, mirrored or turned copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from millrace.errors import InputError, ItemFailed
from millrace.lake.files import file_name
from millrace.lake.images import decode_image
from millrace.lake.parquet import stream_rows
from millrace.lake.rows import BadRow
from millrace.records.improve import ImageMark
from millrace.run.journal import read_records, write_jsonl

SIDE = 32
"""Pixels on a side of the grey picture whose frequencies are hashed."""
LOW = 8
"""Frequencies on a side that are kept: 64 bits."""
THUMBNAIL = 16
NEAR_BITS = 12
"""Hashes that differ in more bits are of different pictures."""
LARGEST_CHANGE = 20.0
"""Levels (of 255) by which every block of two thumbnails of one picture differs less. On the embedded lake a copy at half the
size and JPEG quality 20 differs by 17 at most, and of 707 pairs of pictures with near hashes the nearest by 28."""


class Leak(msgspec.Struct, frozen=True):
    """An image that is on both sides."""

    one: ImageMark
    other: ImageMark
    how: str
    """`the same file`, or `nearly the same picture`."""


def perceptual_hash(image: Image.Image) -> int:
    """64 bits: which of the low frequencies lie above their median."""
    grey = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS), dtype=np.float64)
    low = (_cosines() @ grey @ _cosines().T)[:LOW, :LOW]
    bits = (low > np.median(low)).flatten()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@lru_cache(maxsize=1)
def _cosines() -> NDArray[np.float64]:
    """The rows of the discrete cosine transform that are needed."""
    place = np.arange(SIDE)
    rows: NDArray[np.float64] = np.cos(np.pi / SIDE * (place[None] + 0.5) * np.arange(LOW)[:, None])
    return rows


def thumbnail_of(image: Image.Image) -> bytes:
    """`THUMBNAIL` × `THUMBNAIL` pixels, RGB."""
    return image.convert("RGB").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).tobytes()


def mark_file(file: Path, rows: Sequence[int] | None, lake: Path, out: Path) -> Path:
    """Write the marks of a parquet file's images, unless they are there. An image that cannot be used has none.

    Args:
        file: the parquet file.
        rows: which of its rows; None: all.
        lake: its lake.
        out: JSON lines.
    """
    if not out.exists():
        write_jsonl(out, (mark for row in stream_rows(file, rows, lake=lake) if (mark := _mark(row)) is not None))
    return out


def _mark(row: object) -> ImageMark | None:
    if isinstance(row, BadRow):
        return None
    try:
        image = decode_image(row.image_bytes)  # type: ignore[attr-defined]
    except ItemFailed:
        return None
    ref = row.ref  # type: ignore[attr-defined]
    return ImageMark(
        image_id=ref.image_id,
        file=ref.file,
        row=ref.row,
        sha256=ref.sha256,
        hash=f"{perceptual_hash(image):016x}",
        thumbnail=thumbnail_of(image).hex(),
    )


def read_marks(files: Sequence[Path]) -> list[ImageMark]:
    """The marks in many files."""
    return [mark for file in files for mark in read_records(file, ImageMark)]


def marks_path(folder: Path, file: Path, lake: Path) -> Path:
    """Where a parquet file's marks go."""
    return folder / f"{file_name(file, lake).replace('/', '_')}.jsonl"


def find_leaks(one: Sequence[ImageMark], other: Sequence[ImageMark]) -> list[Leak]:
    """The images of `one` that are in `other` too, by content or nearly; one leak for each at most, in the order of `one`."""
    if not one or not other:
        return []
    by_content = {mark.sha256: mark for mark in other}
    hashes = np.array([int(mark.hash, 16) for mark in other], dtype=np.uint64)
    leaks = []
    for mark in one:
        if mark.sha256 in by_content:
            leaks.append(Leak(mark, by_content[mark.sha256], "the same file"))
            continue
        near = np.flatnonzero(np.bitwise_count(hashes ^ np.uint64(int(mark.hash, 16))) <= NEAR_BITS).tolist()
        twin = next((other[place] for place in near if largest_change(mark, other[place]) < LARGEST_CHANGE), None)
        if twin is not None:
            leaks.append(Leak(mark, twin, "nearly the same picture"))
    return leaks


def largest_change(one: ImageMark, other: ImageMark) -> float:
    """How much the block that differs most differs, in levels."""
    left, right = (np.frombuffer(bytes.fromhex(mark.thumbnail), np.uint8).astype(np.int16) for mark in (one, other))
    return float(np.abs(left - right).reshape(-1, 3).mean(-1).max())


def without_leaks(test: Sequence[ImageMark], pool: Sequence[ImageMark]) -> list[ImageMark]:
    """The test images that are not in the pool, for a lake that was drawn by chance: two empty sheets are one picture."""
    leaking = {leak.one for leak in find_leaks(test, pool)}
    return [mark for mark in test if mark not in leaking]


def refuse_leaks(test: Sequence[ImageMark], pool: Sequence[ImageMark]) -> None:
    """Raises InputError when a test image was probed for the training sets, or is a copy of one that was."""
    leaks = find_leaks(test, pool)
    if leaks:
        first = leaks[0]
        more = f" (and so are {len(leaks) - 1} others)" if len(leaks) > 1 else ""
        raise InputError(
            f"the test image {first.one.image_id} ({first.one.file}, row {first.one.row}) is {first.how} as the probed image "
            f"{first.other.image_id} ({first.other.file}, row {first.other.row}){more}: a model must not be judged on what it "
            "was trained on; take them out of improve.test.path"
        )
