"""Loads a checkpoint of the user's own with torch's reader and with this one, and says how fast each is."""

from __future__ import annotations

import importlib.util
import statistics
import warnings
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.storage import StorageReader

from millrace.checkpoint.engine.stalls import STALL_S
from millrace.checkpoint.metrics import ReadMetrics
from millrace.checkpoint.problems import CheckpointError
from millrace.checkpoint.reader import ParallelFileSystemReader
from millrace.records.checkpoint import ReaderTime


def destinations(metadata: Metadata) -> dict[str, torch.Tensor]:
    """Memory for every tensor of a checkpoint, touched, so that page faults are in no reader's time."""
    described = metadata.state_dict_metadata.items()
    return {
        name: torch.empty(one.size, dtype=one.properties.dtype, device="cpu").zero_()
        for name, one in described
        if isinstance(one, TensorStorageMetadata)
    }


def load_tensors(state: dict[str, torch.Tensor], reader: StorageReader) -> None:
    """`dcp.load` of flat names, in this process alone.

    Raises:
        CheckpointError: as the reader raised it, out of torch's wrapping.
    """
    planner = DefaultLoadPlanner(flatten_state_dict=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load(state, storage_reader=reader, planner=planner, no_dist=True)
    except CheckpointException as error:
        for cause, _ in error.failures.values():
            if isinstance(cause, CheckpointError):
                raise cause from None
        raise


def read_checkpoint(
    path: Path,
    *,
    threads: int | None,
    check: Any,
    stall_s: float | None = STALL_S,
    on_progress: Callable[[int, int], None] | None = None,
) -> ReadMetrics:
    """Load all tensors into memory and say how fast it was.

    Raises:
        CheckpointError: everything that is wrong.
    """
    reader = ParallelFileSystemReader(path, threads=threads, verify=check, stall_s=stall_s, on_progress=on_progress)
    load_tensors(destinations(reader.read_metadata()), reader)
    return reader.metrics


def compare_readers(path: Path, *, threads: int | None, repeats: int, on_turn: Callable[[], None]) -> list[ReaderTime]:
    """Every reader in turn, `repeats` times, in this process and with a warm page cache; rows with median and all seconds."""
    metadata = ParallelFileSystemReader(path).read_metadata()
    state = destinations(metadata)
    nbytes = sum(one.nbytes for one in state.values())
    readers = _readers(path, state, threads)
    times: dict[str, list[float]] = {name: [] for name in readers}
    for name in list(readers):
        readers[name]()  # once for the page cache
        on_turn()
    for _ in range(repeats):
        for name, run in readers.items():
            start = perf_counter()
            run()
            times[name].append(perf_counter() - start)
            on_turn()
    first = statistics.median(times["stock"]) if "stock" in times else None
    return [
        ReaderTime(
            reader=name,
            seconds=round(statistics.median(values), 4),
            gb_per_s=round(nbytes / statistics.median(values) / 1e9, 3),
            times_stock=round(first / statistics.median(values), 2) if first else None,
            all=[round(value, 4) for value in values],
        )
        for name, values in times.items()
    ]


def table(rows: list[ReaderTime]) -> list[str]:
    """The rows as lines of text."""
    lines = [f"{'reader':32s} {'median s':>9s} {'GB/s':>7s} {'x stock':>8s}  all"]
    for row in rows:
        ratio = f"{row.times_stock:8.2f}" if row.times_stock else f"{'-':>8s}"
        lines.append(f"{row.reader:32s} {row.seconds:9.4f} {row.gb_per_s:7.2f} {ratio}  {row.all}")
    return lines


def _readers(path: Path, state: dict[str, torch.Tensor], threads: int | None) -> dict[str, Callable[[], object]]:
    found: dict[str, Callable[[], object]] = {}
    if (path / ".metadata").exists():
        found["stock"] = lambda: load_tensors(state, FileSystemReader(path))
    elif importlib.util.find_spec("safetensors") is not None:
        found["stock"] = lambda: load_tensors(state, HuggingFaceStorageReader(str(path)))
    found["ParallelFileSystemReader"] = lambda: load_tensors(state, ParallelFileSystemReader(path, threads=threads))
    return found
