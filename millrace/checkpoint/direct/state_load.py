"""Loads a checkpoint into a state dict, or into a new one: the whole tensors over arrays, all else by the reader."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.autograd.graph import increment_version
from torch.distributed.checkpoint._nested_dict import flatten_state_dict
from torch.distributed.checkpoint._traverse import set_element
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadPlan
from torch.distributed.checkpoint.stateful import Stateful

from millrace.checkpoint.direct.bulk_read import read_whole
from millrace.checkpoint.direct.index_file import LEAST_NAMES, read_index, write_index
from millrace.checkpoint.direct.whereabouts import Numbers, Whereabouts, headers_whereabouts, whereabouts_of
from millrace.checkpoint.engine.gc_pause import gc_paused
from millrace.checkpoint.engine.open_files import OpenFiles
from millrace.checkpoint.engine.place import WatchedFiles
from millrace.checkpoint.engine.read_engine import Engine, threads_for
from millrace.checkpoint.engine.read_plan import Strictness
from millrace.checkpoint.engine.stalls import STALL_S, StalledRead, Watch
from millrace.checkpoint.one_load import SMALL_LOAD, ByteItems
from millrace.checkpoint.problems import CheckpointError
from millrace.checkpoint.reader import ParallelFileSystemReader
from millrace.records.checkpoint import Problem

State = dict[str, Any]


def load(
    path: str | os.PathLike[str],
    into: State | None = None,
    *,
    threads: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    verify: Strictness = "size",
    byte_items: ByteItems = "skip",
    allow_globals: tuple[type, ...] = (),
    max_staging_bytes: int | None = None,
    stall_s: float | None = STALL_S,
    storage_options: Mapping[str, Any] | None = None,
    index: bool = True,
) -> State:
    """Load a checkpoint, with the promises of `ParallelFileSystemReader`, whose options these are.

    Each rank reads what its own `into` needs (DTensors: their local shards) and exchanges nothing with other ranks. Without
    `into` all tensors come whole, on the CPU, and nested as they were saved; values that `byte_items` leaves out are missing.

    Args:
        path: a DCP folder, a safetensors folder or file, or a URL.
        into: a state dict as `dcp.load` takes it; filled in place.
        index: keep, and use, a file that says where everything is (`.millrace-index`, beside the checkpoint or in the user's
            cache): with thousands of tensors the next load is several times as fast. It is valid for the very same metadata.

    Returns:
        `into`, or the new state dict.

    Raises:
        CheckpointError: naming every file, tensor and offset that failed, and whether a destination was touched.
    """
    reader = ParallelFileSystemReader(
        path,
        threads=threads,
        on_progress=on_progress,
        verify=verify,
        byte_items=byte_items,
        allow_globals=allow_globals,
        max_staging_bytes=max_staging_bytes,
        stall_s=stall_s,
        storage_options=storage_options,
    )
    one = _StateLoad(reader, use_index=index and verify != "crc")
    try:
        with gc_paused():
            return one.new() if into is None else one.fill(into)
    finally:
        reader.reset()


class _NotPlanned(CheckpointError):
    """Torch's planner finds that the state dict and the checkpoint do not go together."""


class _RestPlanner(DefaultLoadPlanner):
    """Asks for the values that are not loaded yet, of a nested state dict like any other.

    Args:
        done: the names of those that are.
    """

    def __init__(self, done: set[str]) -> None:
        super().__init__()
        self._done = done
        self.loaded: set[str] = set()

    def create_local_plan(self) -> LoadPlan:
        assert self.metadata is not None
        described = {name: one for name, one in self.metadata.state_dict_metadata.items() if name not in self._done}
        self.metadata = replace(self.metadata, state_dict_metadata=described)  # else those done look like an old checkpoint's
        self.state_dict = {name: value for name, value in self.state_dict.items() if name not in self._done}
        return super().create_local_plan()

    def load_bytes(self, read_item: Any, value: Any) -> None:
        super().load_bytes(read_item, value)
        self.loaded.add(read_item.dest_index.fqn)


class _StateLoad:
    """One load.

    Args:
        reader: reads what is not whole and plain, and the metadata.
        use_index: look for an index, and write one.
    """

    def __init__(self, reader: ParallelFileSystemReader, *, use_index: bool) -> None:
        self._reader, self._use_index = reader, use_index
        self._place = reader._place
        self._watch = Watch(reader.stall_s)
        self._opened = OpenFiles(self._place.folder, self._place.files, self._watch)
        self._metadata: Metadata | None = None
        self._on_progress = reader.on_progress
        self._rest_nbytes = self._bulk_nbytes = 0

    def fill(self, into: State) -> State:
        """Load into a state dict."""
        stateful = {key: one for key, one in into.items() if not isinstance(one, torch.Tensor) and isinstance(one, Stateful)}
        state = into | {key: one.state_dict() for key, one in stateful.items()}
        flat = state if all(isinstance(one, torch.Tensor) for one in state.values()) else flatten_state_dict(state)[0]
        self._load(state, flat)
        into.update({key: one for key, one in state.items() if key not in stateful})
        for key, one in stateful.items():
            one.load_state_dict(state[key])
        return into

    def new(self) -> State:
        """Load into a new state dict."""
        metadata = self._described()
        flat: State = {
            name: torch.empty(one.size, dtype=one.properties.dtype, device="cpu")
            for name, one in metadata.state_dict_metadata.items()
            if isinstance(one, TensorStorageMetadata)
        }
        values = [name for name in metadata.state_dict_metadata if name not in flat]
        flat |= dict.fromkeys(values)
        loaded = self._load(flat, flat)
        for name in values:
            if name not in loaded:
                del flat[name]
        paths = metadata.planner_data if isinstance(metadata.planner_data, dict) else {}
        state: State = {}
        for name, value in flat.items():
            set_element(state, paths.get(name) or (name,), value)
        return state

    def _described(self) -> Metadata:
        if self._metadata is None:
            self._metadata = self._reader.read_metadata()
        return self._metadata

    def _load(self, state: State, flat: State) -> set[str]:
        """Fill a state dict that is flattened already; returns the names of the values that are no tensors.

        The reader's part comes first: what it refuses it refuses before anything is touched.
        """
        reader = self._reader
        try:
            where, rows, targets = self._found(flat)
            names = [where.names[row] for row in rows.tolist()] if where else []
            nbytes = np.array([one.nbytes for one in targets], dtype=np.int64)
            self._bulk_nbytes = int(nbytes.sum())
            loaded: set[str] = set()
            if len(names) < len(flat):
                try:
                    loaded = self._load_rest(state, set(names), touched=False)
                except _NotPlanned:  # names as torch before 2.4 made them, or one that is missing
                    return self._load_rest(state, set(), touched=False)
            if where is None or not names:
                return loaded
            increment_version(targets)
            addresses = np.array([one.data_ptr() for one in targets], dtype=np.int64)
            failed = {where.names[row] for row in self._read(where, rows, addresses)}
        except StalledRead as stalled:
            raise CheckpointError(str(reader.path), [Problem(str(stalled), stalled.file)], touched=True) from stalled
        finally:
            self._opened.close()
        if failed:
            self._load_rest(state, set(flat) - failed, touched=True)
        return loaded

    def _found(self, flat: State) -> tuple[Whereabouts | None, Numbers, list[torch.Tensor]]:
        """Which tensors are whole and plain, in the checkpoint and in the state dict."""
        nothing: tuple[None, Numbers, list[torch.Tensor]] = (None, np.zeros(0, dtype=np.int64), [])
        if not self._place.is_local or self._reader.verify == "crc":
            return nothing
        where = self._watch.wait_for(self._whereabouts)
        if not self._opened.local:
            return nothing
        rows, targets = _plain_ones(where, flat)
        return nothing if _share_memory(targets) else (where, rows, targets)

    def _read(self, where: Whereabouts, rows: Numbers, addresses: Numbers) -> list[int]:
        total, done = self._bulk_nbytes, self._rest_nbytes

        def on_bytes(count: int) -> None:
            nonlocal done
            done += count
            if self._on_progress is not None:
                self._on_progress(done, self._rest_nbytes + total)

        threads = threads_for(total, self._reader.threads)
        with Engine(self._opened, threads, inline=threads == 1 or total < SMALL_LOAD) as engine:
            return read_whole(where, rows, addresses, self._opened, engine, on_bytes)

    def _whereabouts(self) -> Whereabouts:
        """By the index or the metadata; with all files opened, in its order, and looked at."""
        folder = Path(self._place.folder)
        data = None
        if self._use_index and not self._place.is_single_file and (folder / ".metadata").is_file():
            data = self._place.whole(".metadata", Watch(None))
            where = read_index(folder, data)
            if where is not None and self._open(where):
                return where
            self._opened = OpenFiles(self._place.folder, self._place.files, self._watch)
        if data is None and self._metadata is None and (where := self._by_headers()) is not None:
            return where
        where = whereabouts_of(self._described(), self._opened)
        if data is not None and len(where.names) >= LEAST_NAMES:
            write_index(folder, data, where)
        return where

    def _by_headers(self) -> Whereabouts | None:
        """Of safetensors files that are as they should be; None: the reader says what is wrong, or reads them."""
        if not self._place.is_single_file and self._place.at(".metadata").exists():  # type: ignore[union-attr]
            return None
        files = WatchedFiles(self._place.files, self._watch)
        where = headers_whereabouts(Path(self._place.folder), files, self._place.safetensors_names(Watch(None)))
        if where is None or self._open(where):
            return where
        self._opened = OpenFiles(self._place.folder, self._place.files, self._watch)
        return None

    def _open(self, where: Whereabouts) -> bool:
        problems: list[Problem] = []
        opened = [self._opened.index(name, problems) for name in where.files]
        return not problems and opened == list(range(len(opened))) and where.is_within(self._opened.sizes)

    def _load_rest(self, state: State, done: set[str], *, touched: bool) -> set[str]:
        """Load all but `done` by the reader; returns the names of the values that are no tensors."""
        reader, planner, metadata = self._reader, _RestPlanner(done), self._described()

        def on_progress(count: int, total: int) -> None:
            if self._on_progress is not None and not touched:
                self._rest_nbytes = total
                self._on_progress(count, total + self._bulk_nbytes)

        reader.on_progress = on_progress
        try:
            planner.set_up_planner(state, metadata, is_coordinator=True)
            reader.set_up_storage_reader(metadata, is_coordinator=True)
            plan = reader.prepare_local_plan(planner.create_local_plan())
            (plan,) = reader.prepare_global_plan(planner.create_global_plan([plan]))
            reader.read_data(planner.finish_plan(plan), planner).wait()
        except CheckpointError as error:
            raise CheckpointError(error.path, error.problems, touched=error.touched or touched) from error
        except (RuntimeError, ValueError) as error:  # torch's planner: a name that is missing, a size that differs
            raise _NotPlanned(str(reader.path), [Problem(str(error))], touched=touched) from error
        return planner.loaded


def _plain_ones(where: Whereabouts, flat: State) -> tuple[Numbers, list[torch.Tensor]]:
    """Which of the checkpoint's tensors have a destination that their bytes can go to as they are, and those destinations."""
    rows: list[int] = []
    targets: list[torch.Tensor] = []
    heads, kinds = where.heads, where.kind.tolist()
    strided = torch.strided
    for row, name in enumerate(where.names):
        target = flat.get(name)
        if type(target) is not torch.Tensor and type(target) is not torch.nn.Parameter:
            continue
        head = heads[kinds[row]]
        if (
            target.dtype is head.dtype
            and target.shape == head.sizes
            and target.is_cpu
            and target.layout is strided
            and target.is_contiguous()
            and not target.is_quantized
            and not target.is_conj()
            and not target.is_neg()
        ):
            rows.append(row)
            targets.append(target)
    return np.array(rows, dtype=np.int64), targets


def _share_memory(targets: list[torch.Tensor]) -> bool:
    starts = np.array([one.data_ptr() for one in targets], dtype=np.int64)
    ends = starts + np.array([one.nbytes for one in targets], dtype=np.int64)
    order = np.argsort(starts, kind="stable")
    return bool((starts[order][1:] < ends[order][:-1]).any())
