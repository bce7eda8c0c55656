"""Pictures in the rows of parquet and Arrow files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from millrace.errors import InputError, ItemFailed
from millrace.lake.annotations import annotation_columns
from millrace.lake.files import BATCH_ROWS, first_line, open_parquet, require_image_column
from millrace.lake.importing.found import Found
from millrace.lake.rows import IMAGE_COLUMNS, BadRow, row_of


def in_parquet(file: Path, name: str) -> Iterator[Found]:
    """The pictures of a parquet file, with its other columns."""
    try:
        with open_parquet(file) as parquet:
            require_image_column(file, parquet)
            yield from _rows(parquet.iter_batches(batch_size=BATCH_ROWS, use_threads=False), file, name)
    except InputError as error:
        yield Found(name, None, {}, ItemFailed("unreadable_rows", str(error)))


def in_arrow(file: Path, name: str) -> Iterator[Found]:
    """The pictures of an Arrow file, as `datasets.save_to_disk` writes it (a stream) or as Feather does."""
    try:
        with pa.memory_map(str(file)) as source:
            try:
                reader = pa.ipc.open_stream(source)
                batches: Iterator[pa.RecordBatch] = iter(reader)
                schema = reader.schema
            except pa.ArrowInvalid:
                whole = pa.ipc.open_file(source)
                batches = (whole.get_batch(number) for number in range(whole.num_record_batches))
                schema = whole.schema
            if not set(IMAGE_COLUMNS) & set(schema.names):
                said = f"no image column: it has {', '.join(schema.names)}"
                yield Found(name, None, {}, ItemFailed("unreadable_rows", said))
                return
            yield from _rows(batches, file, name)
    except (pa.ArrowException, OSError) as error:
        yield Found(name, None, {}, ItemFailed("unreadable_rows", first_line(error)))


def _rows(batches: Iterator[pa.RecordBatch], file: Path, name: str) -> Iterator[Found]:
    number = 0
    try:
        for batch in batches:
            kept = [column for column in annotation_columns() if column in batch.schema.names]
            for index in range(batch.num_rows):
                yield _found(batch, index, kept, file, f"{name}/{number}", number)
                number += 1
    except (pa.ArrowException, OSError) as error:
        yield Found(name, None, {}, ItemFailed("unreadable_rows", f"from row {number} on: {first_line(error)}"))


def _found(batch: pa.RecordBatch, index: int, kept: list[str], file: Path, name: str, number: int) -> Found:
    row = row_of(batch, index, file=file, name=name, row=number)
    if isinstance(row, BadRow):
        return Found(name, None, {}, ItemFailed(row.reason, row.detail))
    columns: dict[str, Any] = {column: value for column, value in row.metadata.items() if column not in IMAGE_COLUMNS}
    columns |= {column: batch.column(column)[index].as_py() for column in kept}
    if row.path is not None or row.ref.image_id != f"{file.stem}_{number}":
        name = f"{name.rpartition('/')[0]}/{row.ref.image_id}"
    return Found(name, row.image_bytes, columns)
