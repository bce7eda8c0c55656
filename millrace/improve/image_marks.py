"""Which images of a test were probed for the training sets, or are copies of such, by content and by `millrace.lake.copies`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from millrace.errors import InputError, ItemFailed
from millrace.lake.copies import LARGEST_CHANGE, NEAR_BITS, largest_change, perceptual_hash, thumbnail_of
from millrace.lake.files import file_name
from millrace.lake.images import decode_image
from millrace.lake.parquet import stream_rows
from millrace.lake.rows import BadRow
from millrace.records.improve import ImageMark
from millrace.run.journal import read_records, write_jsonl


class Leak(msgspec.Struct, frozen=True):
    """An image that is on both sides."""

    one: ImageMark
    other: ImageMark
    how: str
    """`the same file`, or `nearly the same picture`."""


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
        twin = next((other[place] for place in near if _change(mark, other[place]) < LARGEST_CHANGE), None)
        if twin is not None:
            leaks.append(Leak(mark, twin, "nearly the same picture"))
    return leaks


def _change(one: ImageMark, other: ImageMark) -> float:
    """How much the block that differs most differs, in levels."""
    left, right = (np.frombuffer(bytes.fromhex(mark.thumbnail), np.uint8) for mark in (one, other))
    return float(largest_change(left, right[None])[0])


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
