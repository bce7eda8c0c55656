"""Reads many whole tensors into memory, planned over arrays: few system calls, and per tensor only the comparison of its head."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from millrace.checkpoint.direct.whereabouts import Numbers, Whereabouts
from millrace.checkpoint.engine.open_files import OpenFiles
from millrace.checkpoint.engine.read_engine import CHUNK_BYTES, RUN_RANGES, SCRATCH_BYTES, SKIPPED_GAP, Engine, Pending, Run
from millrace.checkpoint.engine.runs import LARGE_CHUNK_BYTES
from millrace.checkpoint.engine.vector_io import read_fully
from millrace.checkpoint.formats.item_heads import Head, check_descriptor
from millrace.checkpoint.formats.item_pickle import UnusualItemError

MOST_ITEMS = RUN_RANGES // 2 - 1


@dataclass
class _Stretch:
    """Items of one file that are read in one go: rows `low` to `high` of the order; or a piece of one large item."""

    low: int
    high: int
    piece: tuple[int, int] | None = None
    """First byte and length within the item."""


def read_whole(
    where: Whereabouts, rows: Numbers, addresses: Numbers, opened: OpenFiles, engine: Engine, on_bytes: Callable[[int], None]
) -> list[int]:
    """Read the tensors of `rows` to `addresses`.

    Each saved head is compared with the one of its kind, and the sizes that follow the tensor with its own.

    Args:
        where: the checkpoint's tensors.
        rows: which of them.
        addresses: of their destinations: contiguous memory of the head's dtype and shape, for each row.
        opened: the files, in the order of `where.files`.
        engine: does the reading; entered.
        on_bytes: told how many bytes have arrived.

    Returns:
        Which of `rows` could not be read so, or have another head; reading them one by one says why.
    """
    order = np.lexsort((where.offset[rows], where.file[rows]))
    plan = _Plan(where, rows[order], addresses[order])
    failed: list[int] = []

    def take(runs: list[Run]) -> None:
        for run in runs:
            pending = run.members[0]
            if pending.failure is not None or pending.mismatch:
                stretch: Any = pending.target
                failed.extend(plan.rows[stretch.low : stretch.high].tolist())
            on_bytes(run.payload)

    for stretch in plan.stretches():
        start, end, payload = plan.extent(stretch)
        pending = Pending(None, 0, stretch, 0)  # type: ignore[arg-type]
        run = Run(int(plan.file[stretch.low]), start, end, array("Q"), engine.scratch(), [pending], payload=payload)
        run.work = partial(plan.read, stretch, opened, run)
        engine.submit(run)
        take(engine.finished())
    take(engine.finished(wait=True))
    return sorted(set(failed))


class _Plan:
    """Sorted by file and place."""

    def __init__(self, where: Whereabouts, rows: Numbers, addresses: Numbers) -> None:
        self.rows, self.addresses = rows, addresses
        self.file, self.heads = where.file[rows], [where.heads[kind] for kind in where.kind[rows].tolist()]
        sizes = np.array(
            [(head.data_offset, head.storage_nbytes, head.descriptor_nbytes) for head in where.heads], dtype=np.int64
        )
        sizes = sizes.reshape(-1, 3)[where.kind[rows]]
        self.first = where.offset[rows]
        """Of the head."""
        self.data, self.nbytes, self.tail = self.first + sizes[:, 0], sizes[:, 1], sizes[:, 2]
        plain = sizes[:, 2] == 0
        self.first = np.where(plain, self.data, self.first)  # a safetensors file's tensors have no heads
        self.end = self.data + self.nbytes + self.tail

    def stretches(self) -> Iterator[_Stretch]:
        """All of it, cut where files, long gaps or the limits of a call are."""
        first, end, file, nbytes = self.first.tolist(), self.end.tolist(), self.file.tolist(), self.nbytes.tolist()
        low = payload = gaps = 0
        for row, size in enumerate(nbytes):
            gap = first[row] - end[row - 1] if row else 0
            extra = end[row] - first[row] - size + max(gap, 0)
            if row > low and (
                file[row] != file[low]
                or not 0 <= gap <= SKIPPED_GAP
                or payload + size > CHUNK_BYTES
                or row - low >= MOST_ITEMS
                or gaps + extra > SCRATCH_BYTES
            ):
                yield _Stretch(low, row)
                low, payload, gaps = row, 0, 0
            if size > CHUNK_BYTES:
                yield from (
                    _Stretch(row, row + 1, (at, min(LARGE_CHUNK_BYTES, size - at))) for at in range(0, size, LARGE_CHUNK_BYTES)
                )
                low, payload, gaps = row + 1, 0, 0
                continue
            payload += size
            gaps += extra
        if low < len(nbytes):
            yield _Stretch(low, len(nbytes))

    def extent(self, stretch: _Stretch) -> tuple[int, int, int]:
        """Its first byte in the file, the one behind its last, and its payload."""
        low, high = stretch.low, stretch.high
        if stretch.piece is None:
            return int(self.first[low]), int(self.end[high - 1]), int(self.nbytes[low:high].sum())
        at, count = stretch.piece
        is_last = at + count == self.nbytes[low]
        start = self.first[low] if at == 0 else self.data[low] + at
        return int(start), int(self.data[low] + at + count + (self.tail[low] if is_last else 0)), count

    def read(self, stretch: _Stretch, opened: OpenFiles, run: Run) -> None:
        """Read one and compare its heads. Raises OSError, EOFError, UnusualItemError."""
        low, high, piece = stretch.low, stretch.high, stretch.piece
        data, nbytes, addresses = self.data[low:high], self.nbytes[low:high], self.addresses[low:high]
        if piece is not None:
            data, nbytes, addresses = data + piece[0], np.array([piece[1]], dtype=np.int64), addresses + piece[0]
        gaps = np.empty(high - low + 1, dtype=np.int64)  # before each tensor, and behind the last
        gaps[0] = data[0] - run.start
        gaps[1:-1] = data[1:] - data[:-1] - nbytes[:-1]
        gaps[-1] = run.end - data[-1] - nbytes[-1]
        places = np.zeros(high - low + 2, dtype=np.int64)
        np.cumsum(gaps, out=places[1:])
        scratch = bytearray(max(1, int(places[-1])))
        table = np.zeros((2 * (high - low) + 1, 2), dtype=np.uint64)
        table[0::2, 0] = places[:-1] + ctypes.addressof(ctypes.c_char.from_buffer(scratch))
        table[0::2, 1] = gaps
        table[1::2, 0] = addresses
        table[1::2, 1] = nbytes
        ranges = array("Q")
        ranges.frombytes(table[table[:, 1] > 0].tobytes())
        with opened.use(run.file) as handle:
            read_fully(opened.files, handle, ranges, run.start)
        ends = places.tolist()
        for number, head in enumerate(self.heads[low:high]):
            if head.descriptor_nbytes:
                begins, stops = piece is None or piece[0] == 0, piece is None or run.end == self.end[low]
                _compare(head, scratch, ends[number + 1] if begins else None, ends[number + 1] if stops else None)


def _compare(head: Head, scratch: bytearray, head_end: int | None, tail_at: int | None) -> None:
    """Raises UnusualItemError where what is around a tensor is not what is around one of its kind."""
    if head_end is not None and not scratch.startswith(head.raw, head_end - head.data_offset):
        raise UnusualItemError("another head")
    if tail_at is not None:
        check_descriptor(bytes(scratch[tail_at : tail_at + head.descriptor_nbytes]), head)
