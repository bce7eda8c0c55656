"""One load: destinations from the planner, runs for the engine, commits back to the planner."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch.autograd.graph import increment_version
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.planner import LoadPlanner, ReadItem

from millrace.checkpoint.engine.geometry import row_shape
from millrace.checkpoint.engine.read_engine import SKIPPED_GAP, Engine, Pending, Run
from millrace.checkpoint.engine.read_plan import Read, StockRead, head_of, read_of
from millrace.checkpoint.engine.runs import RunBuilder
from millrace.checkpoint.engine.staging import Staging, staging_bytes
from millrace.checkpoint.formats.item_pickle import UnusualItemError
from millrace.checkpoint.formats.safetensors_format import SafetensorsError
from millrace.checkpoint.metrics import ReadMetrics
from millrace.records.checkpoint import Problem

SHORT_ROW = 4096
"""Rows of fewer bytes go through staging memory: a range of a `preadv` costs about half a microsecond, a row's copy less."""
LOOKUP = ("resolve_tensor", "lookup_tensor", "transform_tensor")
"""The default planner's methods that lead from a request to its destination."""
SPARSE = 2
"""Where the rows' span is more than so many times their bytes, rows are read one by one all the same, down to `LEAST_ROW`."""
LEAST_ROW = 256


class Loading:
    """Fills the destinations of placed reads.

    Args:
        engine: does the reading; entered.
        planner: gives and takes destinations, always on the calling thread.
        metrics: filled in.
        in_order: finish and commit each item before the next is resolved, as torch does. For planners with a `commit_tensor`
            of their own: they may hand out one staging tensor again and again.
        staging: bytes of staging memory in all; None: by default.
        on_bytes: called with how many bytes have arrived.
        info_of: where a request is stored, for a second look at its head.
    """

    def __init__(
        self,
        engine: Engine,
        planner: LoadPlanner,
        metrics: ReadMetrics,
        *,
        in_order: bool,
        staging: int | None,
        on_bytes: Callable[[int], None],
        info_of: Callable[[ReadItem], Any],
    ) -> None:
        self.engine = engine
        self.planner = planner
        self.metrics = metrics
        self.in_order = in_order
        self.on_bytes = on_bytes
        self.info_of = info_of
        self.problems: list[Problem] = []
        self.stock: list[StockRead] = []
        self._builder = RunBuilder(engine)
        self._staging = Staging(engine.opened, staging_bytes(staging, engine.threads))
        self._again: list[Pending] = []
        self._alone = False
        self._extents = Extents()
        self._plain_lookup: dict[str, Any] | None = None
        kind = type(planner)
        if isinstance(planner, DefaultLoadPlanner) and all(
            getattr(kind, name) is getattr(DefaultLoadPlanner, name) for name in LOOKUP
        ):
            self._plain_lookup = planner.state_dict

    def run(self, reads: list[Read]) -> None:
        """Read all of them; afterwards `problems` says what failed and `stock` what torch has to read."""
        for order, read in enumerate(reads):
            self._begin(read, order)
            if self.in_order:
                self._settle()
            else:
                self._take(self.engine.finished())
        self._settle()
        self._retry()
        if not self.in_order:
            self._replay(reads)

    def _begin(self, read: Read, order: int) -> None:
        start = perf_counter()
        target = self._destination(read)
        self.metrics.resolve_s += perf_counter() - start
        if target.size() != read.box.sizes:
            what = f"the saved part has shape {list(read.box.sizes)} and its destination {list(target.size())}"
            self._problem(read, what)
        elif type(target) is not torch.Tensor or target.layout != torch.strided or target.is_quantized or target.is_meta:
            self.stock.append(StockRead(read.item, f"a destination that is a {type(target).__name__} on {target.device}"))
        elif read.nbytes == 0:
            self.metrics.fast_items += 1
            self.planner.commit_tensor(read.item, target)
        else:
            increment_version(target)
            self._extents.add(read, target)
            self._route(Pending(read, order, target, 0), target)

    def _destination(self, read: Read) -> torch.Tensor:
        """What the planner resolves to; for a whole plain tensor and torch's default planner the same, looked up directly."""
        item = read.item
        if self._plain_lookup is not None:
            found = self._plain_lookup.get(item.dest_index.fqn)
            if (
                (type(found) is torch.Tensor or type(found) is torch.nn.Parameter)
                and found.size() == item.lengths
                and not any(item.dest_offsets)
                and not any(item.dest_index.offset or ())
            ):
                return found.detach()
        return self.planner.resolve_tensor(item).detach()

    def _route(self, pending: Pending, target: torch.Tensor) -> None:
        read = pending.read
        in_place = target.is_cpu and target.dtype == read.head.dtype and not target.is_conj() and not target.is_neg()
        if in_place and read.dense and target.is_contiguous():
            pending.address = target.data_ptr()
            self.metrics.fast_items += not self._alone
            self._builder.add(pending)
            return
        if not read.checked:
            own = self._with_own_head(pending)
            if own is None:
                return
            pending.read = read = own
        shape = row_shape(read.box.sizes, read.box.strides, target.stride()) if in_place else None
        if shape is not None:
            nbytes = shape.length * read.head.dtype.itemsize
            gap = shape.source_strides[-1] * read.head.dtype.itemsize - nbytes if shape.sizes else 0
            sparse = nbytes >= LEAST_ROW and gap > nbytes * (SPARSE - 1)
            if nbytes >= SHORT_ROW or sparse or gap > SKIPPED_GAP:
                pending.address = target.data_ptr()
                self.metrics.fast_items += not self._alone
                self._builder.add_rows(pending, shape)
                return
        self.metrics.staged_items += not self._alone
        itemsize = read.head.dtype.itemsize
        base = read.offset + read.head.data_offset
        for part, place in self._staging.shares(read, target):
            start = base + part.start * itemsize
            run = Run(read.file, start, start + part.span * itemsize, array("Q"), self.engine.scratch(), [pending])
            run.payload = place.numel() * itemsize
            run.work = partial(self._staging.load, read, part, place)
            self.engine.submit(run)

    def _with_own_head(self, pending: Pending) -> Read | None:
        """The read with the head that the item really has; None: it was passed on to torch or is a problem."""
        read = pending.read
        info = self.info_of(read.item)
        try:
            own = read_of(read.item, read.file, info, head_of(read.item, read.file, info, self.engine.opened))
        except (UnusualItemError, SafetensorsError) as unusual:
            self.stock.append(StockRead(read.item, str(unusual)))
            return None
        except OSError as error:
            self._problem(read, f"its head cannot be read: {error.strerror or error}")
            return None
        if own is None or own.head.sizes != read.head.sizes or own.box.sizes != read.box.sizes:
            self._problem(read, "the saved tensor has another shape than the metadata says: are files mixed up?")
            return None
        return own

    def _settle(self) -> None:
        self._builder.flush()
        self._take(self.engine.finished(wait=True))

    def _take(self, runs: Iterable[Run]) -> None:
        for run in runs:
            alone = len(run.members) == 1
            for pending in run.members:
                pending.left -= 1
                if pending.left == 0:
                    self._finish(pending, alone)
            self.on_bytes(run.payload)

    def _finish(self, pending: Pending, alone: bool) -> None:
        if pending.failure is None and not pending.mismatch:
            self.planner.commit_tensor(pending.read.item, pending.target)  # type: ignore[arg-type]
        elif pending.failure is not None and (alone or self._alone):
            self._problem(pending.read, pending.failure)
        else:
            self._again.append(pending)

    def _retry(self) -> None:
        """Read items alone whose run failed or whose head was not the predicted one: now the very item shows what's wrong."""
        self._alone = True
        while self._again:
            pending = self._again.pop()
            if pending.mismatch:
                if pending.read.checked:
                    self.stock.append(StockRead(pending.read.item, "no matching descriptor after the storage"))
                    continue
                own = self._with_own_head(pending)
                if own is None:
                    continue
                pending.read = own
            pending.failure, pending.mismatch = None, False
            self._route(pending, pending.target)  # type: ignore[arg-type]
            self._settle()

    def _replay(self, reads: list[Read]) -> None:
        """Where two names share memory, bring about what torch's order of reading leaves there: the last one wins."""
        shared = self._extents.shared_names()
        if not shared:
            return
        self._builder.flush()
        for read in sorted((one for one in reads if one.item.dest_index.fqn in shared), key=lambda one: (one.file, one.offset)):
            target = self.planner.resolve_tensor(read.item).detach()
            if target.size() == read.box.sizes and read.nbytes:
                self._route(Pending(read, 0, target, 0), target)
                self._settle()
                self._retry()

    def _problem(self, read: Read, what: str) -> None:
        file = self.engine.opened.names[read.file]
        self.problems.append(Problem(what, file, read.item.storage_index.fqn, read.offset))


class Extents:
    """Which destinations of different names lie in the same memory (tied weights)."""

    def __init__(self) -> None:
        self._starts = array("Q")
        self._ends = array("Q")
        self._owners = array("Q")
        self._names: dict[str, int] = {}

    def add(self, read: Read, target: torch.Tensor) -> None:
        """Note a destination."""
        if not target.is_cpu:
            return
        start = target.data_ptr()
        if target.is_contiguous():
            nbytes = target.numel() * target.itemsize
        else:
            last = sum((size - 1) * stride for size, stride in zip(target.size(), target.stride(), strict=True))
            nbytes = (last + 1) * target.itemsize
        self._starts.append(start)
        self._ends.append(start + nbytes)
        self._owners.append(self._names.setdefault(read.item.dest_index.fqn, len(self._names)))

    def shared_names(self) -> set[str]:
        """The names whose memory overlaps that of another name."""
        count = len(self._names)
        if count < 2:
            return set()
        owners = np.frombuffer(self._owners, dtype=np.uint64).astype(np.int64)
        starts = np.full(count, np.iinfo(np.uint64).max, dtype=np.uint64)
        ends = np.zeros(count, dtype=np.uint64)
        np.minimum.at(starts, owners, np.frombuffer(self._starts, dtype=np.uint64))
        np.maximum.at(ends, owners, np.frombuffer(self._ends, dtype=np.uint64))
        order = np.argsort(starts, kind="stable")
        reach = np.maximum.accumulate(ends[order])
        hits = np.flatnonzero(starts[order][1:] < reach[:-1]) + 1
        if not len(hits):
            return set()
        names = list(self._names)
        shared: set[str] = set()
        for hit in hits.tolist():
            mine = order[hit]
            overlapping = np.flatnonzero((starts < ends[mine]) & (ends > starts[mine]))
            shared.update(names[index] for index in overlapping.tolist())
        return shared
