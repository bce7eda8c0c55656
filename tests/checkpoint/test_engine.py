"""How the engine shares its work."""

from __future__ import annotations

import threading
import time
from array import array
from collections import Counter
from pathlib import Path

import pytest
import torch

from millrace.checkpoint.engine.vector_io import PosixFiles
from millrace.checkpoint.reader import ParallelFileSystemReader
from tests.checkpoint.saved_checkpoints import load, save


class SlowDisk(PosixFiles):
    """Takes five milliseconds for a read, and counts who waits for it."""

    def __init__(self) -> None:
        self.reads: Counter[int] = Counter()

    def read_vector(self, handle: int, ranges: array[int], start: int, count: int, offset: int) -> int:
        self.reads[threading.get_ident()] += 1
        time.sleep(0.005)
        return super().read_vector(handle, ranges, start, count, offset)


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("shape", ["huge", "small", "transposed"])
def test_all_threads_take_their_share_of_the_reads(tmp_path: Path, threads: int, shape: str) -> None:
    """The calling thread reads too; it must not do so instead of the others."""
    if shape == "small":
        state = {f"t{number}": torch.full((250_000,), float(number)) for number in range(160)}
    else:
        state = {"huge": torch.arange(64 << 20, dtype=torch.uint8).reshape(8192, 8192)}
    targets = {name: torch.zeros_like(one) for name, one in state.items()}
    if shape == "transposed":
        targets["huge"] = targets["huge"].t()
    save(state, tmp_path)
    disk = SlowDisk()
    load(targets, ParallelFileSystemReader(tmp_path, threads=threads, files=disk, max_staging_bytes=8 << 20))
    assert all(torch.equal(targets[name], one) for name, one in state.items())
    assert len(disk.reads) == threads
    assert min(disk.reads.values()) >= 0.5 * disk.reads.total() / threads
