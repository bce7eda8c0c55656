"""Single images found again by their refs."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from millrace.errors import InputError, ItemFailed
from millrace.lake.annotations import ANY, annotation_kinds
from millrace.lake.files import BATCH_ROWS, first_line, open_parquet
from millrace.lake.rows import BadRow, LakeRow, row_of
from millrace.records.lake import ImageRef

KEPT_GROUP_BYTES = 32 * 1024 * 1024
"""A row group up to this size is kept whole for random access; a larger one is read forward, a batch at a time."""


Stamp = tuple[int, int]
"""When a file was last written, in nanoseconds, and its size in bytes."""

KEPT_ROW_BYTES = 32 * 1024 * 1024
"""So many bytes of rows are kept as they were read: an image with several failures is asked for once for each of them."""


class _Opened(NamedTuple):
    file: Path
    stamp: Stamp
    parquet: pq.ParquetFile
    starts: list[int]


class _Kept(NamedTuple):
    row: LakeRow
    stamp: Stamp | None
    """Of the image's own file, where the row names one; None where the row holds the bytes."""


class _Cursor(NamedTuple):
    file: Path
    group: int
    batches: Iterator[pa.RecordBatch]
    batch: pa.RecordBatch
    position: int


class LakeReader:
    """Finds single images again by their refs; quick when neighbours are asked for one after the other.

    Small row groups are kept (the last two), so any order inside them is quick. A large one is read forward: ask in
    ascending order. Threads may share a reader; they take turns.

    Args:
        lake: the folder.
        annotation: the kind of annotation that is looked for (`millrace.lake.annotations`).
    """

    def __init__(self, lake: Path, annotation: str = ANY) -> None:
        self.lake = lake.parent if lake.is_file() else lake
        annotation_kinds(annotation)  # one that is not there is said now, and not of every row
        self._annotation = annotation
        self._lock = threading.Lock()
        self._opened: _Opened | None = None
        self._groups: OrderedDict[int, pa.Table] = OrderedDict()
        self._cursor: _Cursor | None = None
        self._rows: OrderedDict[int, _Kept] = OrderedDict()
        self._row_bytes = 0

    def read(self, ref: ImageRef) -> LakeRow:
        """The row that `ref` names.

        Raises:
            ItemFailed: it is gone ("missing_file"), unusable (see `REASONS`), or has other bytes than it had ("image_changed").
        """
        file = self.lake / ref.file
        try:
            with self._lock:
                row = self._kept(file, ref.row)
                batch, index = (None, 0) if row is not None else self._find(file, ref.row)
        except InputError as error:
            raise ItemFailed("missing_file", str(error)) from error
        except (pa.ArrowException, OSError) as error:
            self._forget()
            raise ItemFailed("unreadable_rows", f"{file}: {first_line(error)}") from error
        if batch is not None:
            started_ns = time.time_ns()
            found = row_of(batch, index, file=file, name=ref.file, row=ref.row, annotation=self._annotation)
            if isinstance(found, BadRow):
                raise ItemFailed(found.reason, found.detail)
            row = found
            self._keep(file, row, started_ns)
        assert row is not None
        if ref.sha256 and row.ref.sha256 != ref.sha256:
            raise ItemFailed("image_changed", f"row {ref.row} of {file} has other bytes than when it was recorded")
        return row

    def _kept(self, file: Path, row: int) -> LakeRow | None:
        """The row as it was read before, if its file is the one opened last and neither it nor the image's own has changed."""
        self._open(file)
        kept = self._rows.get(row)
        if kept is None:
            return None
        if kept.row.path is not None and kept.stamp != _stamp(Path(kept.row.path)):
            self._row_bytes -= len(self._rows.pop(row).row.image_bytes)
            return None
        self._rows.move_to_end(row)
        return kept.row

    def _keep(self, file: Path, row: LakeRow, started_ns: int) -> None:
        """Keep a row, unless the image's own file was written to since the reading of it was started."""
        stamp = None if row.path is None else _stamp(Path(row.path))
        with self._lock:
            if self._opened is None or self._opened.file != file or row.ref.row in self._rows:
                return
            if stamp is not None and stamp[0] >= started_ns:
                return
            self._rows[row.ref.row] = _Kept(row, stamp)
            self._row_bytes += len(row.image_bytes)
            while self._row_bytes > KEPT_ROW_BYTES:
                self._row_bytes -= len(self._rows.popitem(last=False)[1].row.image_bytes)

    def _find(self, file: Path, row: int) -> tuple[pa.RecordBatch, int]:
        parquet, starts = self._open(file)
        if not 0 <= row < starts[-1]:
            raise ItemFailed("missing_file", f"{file} has {starts[-1]} rows and none numbered {row}")
        group = bisect_right(starts, row) - 1
        if parquet.metadata.row_group(group).total_byte_size <= KEPT_GROUP_BYTES:
            table = self._groups.pop(group, None)
            table = parquet.read_row_group(group, use_threads=False) if table is None else table
            self._groups[group] = table
            if len(self._groups) > 2:
                self._groups.popitem(last=False)
            return table.slice(row - starts[group], 1).to_batches()[0], 0
        cursor = self._cursor
        if cursor is None or cursor.group != group or cursor.position > row:
            batches = iter(parquet.iter_batches(batch_size=BATCH_ROWS, row_groups=[group], use_threads=False))
            cursor = _Cursor(file, group, batches, next(batches), starts[group])
        while row >= cursor.position + cursor.batch.num_rows:
            position = cursor.position + cursor.batch.num_rows
            cursor = cursor._replace(batch=next(cursor.batches), position=position)
        self._cursor = cursor
        return cursor.batch, row - cursor.position

    def _open(self, file: Path) -> tuple[pq.ParquetFile, list[int]]:
        stamp = _stamp(file)
        if self._opened is None or (self._opened.file, self._opened.stamp) != (file, stamp):
            self._forget()
            parquet = open_parquet(file)
            sizes = (parquet.metadata.row_group(group).num_rows for group in range(parquet.metadata.num_row_groups))
            self._opened = _Opened(file, stamp, parquet, list(accumulate(sizes, initial=0)))
        return self._opened.parquet, self._opened.starts

    def _forget(self) -> None:
        if self._opened:
            self._opened.parquet.close()
        self._opened = self._cursor = None
        self._groups.clear()
        self._rows.clear()
        self._row_bytes = 0


def _stamp(file: Path) -> Stamp:
    try:
        status = file.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def read_row(lake: Path, ref: ImageRef) -> LakeRow:
    """`LakeReader(lake).read(ref)`, with a reader that this process keeps. Raises `ItemFailed`."""
    return _reader(Path(lake)).read(ref)


@lru_cache(maxsize=2)
def _reader(lake: Path) -> LakeReader:
    return LakeReader(lake)
