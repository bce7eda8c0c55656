"""Packs resolved reads into runs for the engine."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from millrace.checkpoint.engine.geometry import RowShape
from millrace.checkpoint.engine.read_engine import (
    CHUNK_BYTES,
    RUN_RANGES,
    SCRATCH_BYTES,
    SKIPPED_GAP,
    TRASH_BYTES,
    Check,
    Engine,
    Pending,
    Run,
)

LARGE_CHUNK_BYTES = 2 * CHUNK_BYTES
"""Payload per run of a tensor that is cut into chunks."""
SCRATCH_ROOM = SCRATCH_BYTES - TRASH_BYTES


class RunBuilder:
    """Collects dense reads in file order and hands full runs to the engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._run: Run | None = None

    def add(self, pending: Pending) -> None:
        """Put a dense read, destination resolved, into the current run or into runs of its own."""
        read = pending.read
        head = read.head
        whole = read.nbytes == head.storage_nbytes and bool(head.raw)
        data = read.data_start
        first = read.offset if whole and not read.checked else data
        tail = head.descriptor_nbytes if whole else 0
        if read.nbytes > CHUNK_BYTES:
            self._add_large(pending, first, data, tail)
            return
        run = self._run
        if run is not None and (
            run.file != read.file
            or first < run.end
            or first - run.end > SKIPPED_GAP
            or run.payload + read.nbytes > CHUNK_BYTES
            or len(run.ranges) >= 2 * RUN_RANGES
            or run.scratch.used + (data - run.end) + tail > SCRATCH_ROOM
        ):
            self.flush()
            run = None
        if run is None:
            run = self._start(read.file, first)
        self._append(run, pending, first, data, read.nbytes, pending.address, tail)

    def flush(self) -> None:
        """Hand over the run being filled."""
        if self._run is not None:
            run, self._run = self._run, None
            self.engine.submit(run)

    def _start(self, file: int, start: int) -> Run:
        self._run = Run(file, start, start, array("Q"), self.engine.scratch())
        return self._run

    def _append(self, run: Run, pending: Pending, first: int, data: int, nbytes: int, address: int, tail: int) -> None:
        scratch = run.scratch
        head_at = -1
        if data > run.end:
            at = scratch.used
            run.ranges.extend((scratch.address + at, data - run.end))
            if first < data:
                head_at = at + first - run.end
            scratch.used += data - run.end
        run.ranges.extend((address, nbytes))
        tail_at = -1
        if tail:
            tail_at = scratch.used
            run.ranges.extend((scratch.address + tail_at, tail))
            scratch.used += tail
        run.end = data + nbytes + tail
        run.payload += nbytes
        run.members.append(pending)
        if head_at >= 0 or tail_at >= 0:
            run.checks.append(Check(pending, head_at, tail_at))

    def _add_large(self, pending: Pending, first: int, data: int, tail: int) -> None:
        self.flush()
        read = pending.read
        for low in range(0, read.nbytes, LARGE_CHUNK_BYTES):
            count = min(LARGE_CHUNK_BYTES, read.nbytes - low)
            start = first if low == 0 else data + low
            run = self._start(read.file, start)
            last = low + count == read.nbytes
            self._append(run, pending, start, data + low, count, pending.address + low, tail if last else 0)
            self.flush()

    def _add_range(self, pending: Pending, source: int, target: int, nbytes: int) -> None:
        """One long run of bytes that carries no head or tail, in chunks."""
        for low in range(0, nbytes, LARGE_CHUNK_BYTES):
            run = self._start(pending.read.file, source + low)
            self._append(run, pending, source + low, source + low, min(LARGE_CHUNK_BYTES, nbytes - low), target + low, 0)
            self.flush()

    def add_rows(self, pending: Pending, shape: RowShape) -> None:
        """Put a read whose rows are runs of bytes on both sides into runs of its own."""
        self.flush()
        read = pending.read
        itemsize = read.head.dtype.itemsize
        rows = shape.rows()
        length = rows.length * itemsize
        sources = rows.sources * itemsize + read.data_start
        targets = rows.targets * itemsize + pending.address
        if length > CHUNK_BYTES:
            for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
                self._add_range(pending, source, target, length)
            return
        for low, high in _row_groups(sources, length):
            run = self._start(read.file, int(sources[low]))
            run.ranges = _row_ranges(sources[low:high], targets[low:high], length, run.scratch.address + SCRATCH_ROOM)
            run.end = int(sources[high - 1]) + length
            run.payload = length * (high - low)
            run.members.append(pending)
            self.flush()


def _row_groups(sources: np.ndarray, length: int) -> Iterator[tuple[int, int]]:  # type: ignore[type-arg]
    """Ranges of row numbers, each close enough together and small enough for one run."""
    cuts = np.flatnonzero(sources[1:] - sources[:-1] - length > SKIPPED_GAP) + 1
    edges = [0, *cuts.tolist(), len(sources)]
    most = max(1, min(RUN_RANGES // 2, CHUNK_BYTES // length))
    for begin, end in pairwise(edges):
        for low in range(begin, end, most):
            yield low, min(low + most, end)


def _row_ranges(sources: np.ndarray, targets: np.ndarray, length: int, trash: int) -> array[int]:  # type: ignore[type-arg]
    count = len(sources)
    table = np.empty((2 * count - 1, 2), dtype=np.uint64)
    table[0::2, 0] = targets
    table[0::2, 1] = length
    table[1::2, 0] = trash
    table[1::2, 1] = sources[1:] - sources[:-1] - length
    ranges = array("Q")
    ranges.frombytes(table.tobytes())
    return ranges
