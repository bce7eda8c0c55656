"""Images in: parquet files read row group by row group, so memory does not grow with the lake."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from millrace.errors import ItemFailed
from millrace.lake.annotations import ANY, annotation_kinds
from millrace.lake.files import (
    BATCH_ROWS,
    check_lake,
    count_rows,
    file_name,
    first_line,
    lake_files,
    open_parquet,
    require_image_column,
)
from millrace.lake.images import MAX_PIXELS, decode_image
from millrace.lake.reader import LakeReader, read_row
from millrace.lake.rows import BadRow, LakeRow, row_of
from millrace.records.lake import ImageRef

__all__ = [
    "BadRow",
    "DecodedRow",
    "ImageRef",
    "LakeReader",
    "LakeRow",
    "check_lake",
    "count_rows",
    "lake_files",
    "read_row",
    "stream_images",
    "stream_rows",
]


class DecodedRow(msgspec.Struct, frozen=True):
    """A row with its picture."""

    row: LakeRow
    image: Image.Image
    """8-bit RGB, upright."""


def stream_rows(
    file: Path, rows: Sequence[int] | None = None, *, lake: Path | None = None, annotation: str = ANY
) -> Iterator[LakeRow | BadRow]:
    """The rows of one parquet file in order, or those numbered in `rows`, a batch of `BATCH_ROWS` in memory at a time.

    A row that has no usable image comes as `BadRow`, so as many come out as were asked for. A damaged row group costs its own
    rows, each as a `BadRow`, and no others.

    Args:
        file: the parquet file.
        rows: row numbers wanted, in any order; they come ascending, each once. None means all.
        lake: the folder that `ImageRef.file` is relative to; None means the file's own.
        annotation: the kind of annotation that is looked for (`millrace.lake.annotations`).

    Raises:
        InputError: the file is not parquet, or has no column that could hold an image.
        UsageError: no kind of annotation is called that.
        ValueError: `rows` names one that the file does not have.
    """
    annotation_kinds(annotation)  # one that is not there is said now, and not of every row
    wanted = None if rows is None else np.unique(np.asarray(rows, dtype=np.int64))
    with open_parquet(file) as parquet:
        require_image_column(file, parquet)
        name = file_name(file, lake)
        if wanted is not None and len(wanted) and not 0 <= wanted[0] <= wanted[-1] < parquet.metadata.num_rows:
            raise ValueError(f"{file} has {parquet.metadata.num_rows} rows, asked for rows {wanted[0]} to {wanted[-1]}")
        start = 0
        for group in range(parquet.metadata.num_row_groups):
            stop = start + parquet.metadata.row_group(group).num_rows
            inside = np.arange(start, stop) if wanted is None else wanted[(wanted >= start) & (wanted < stop)]
            if len(inside):
                yield from _stream_group(parquet, group, start, inside.tolist(), file=file, name=name, annotation=annotation)
            start = stop


def stream_images(
    file: Path, rows: Sequence[int] | None = None, *, lake: Path | None = None, max_pixels: int = MAX_PIXELS
) -> Iterator[DecodedRow | BadRow]:
    """`stream_rows` with the pictures decoded; one that cannot be comes as a `BadRow` with `decode_image`'s reason."""
    for row in stream_rows(file, rows, lake=lake):
        if isinstance(row, BadRow):
            yield row
            continue
        try:
            yield DecodedRow(row, decode_image(row.image_bytes, max_pixels=max_pixels))
        except ItemFailed as failure:
            yield BadRow(row.ref, failure.reason, failure.detail)


def _stream_group(
    parquet: pq.ParquetFile, group: int, start: int, inside: list[int], *, file: Path, name: str, annotation: str
) -> Iterator[LakeRow | BadRow]:
    done, position = 0, start
    try:
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS, row_groups=[group], use_threads=False):
            while done < len(inside) and inside[done] < position + batch.num_rows:
                row = inside[done]
                done += 1
                yield row_of(batch, row - position, file=file, name=name, row=row, annotation=annotation)
            position += batch.num_rows
            if done == len(inside):
                return
    except (pa.ArrowException, OSError) as error:
        detail = f"row group {group}: {first_line(error)}"
        for row in inside[done:]:
            yield BadRow(ImageRef(f"{file.stem}_{row}", name, row, ""), "unreadable_rows", detail)
