"""One load of a checkpoint: place what a plan asks for, check it, then read it all."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Literal

from msgspec import structs
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, ReadItem

from millrace.checkpoint.checksums import CheckedItem, crc_problems
from millrace.checkpoint.engine.coverage import holes
from millrace.checkpoint.engine.loading import Loading
from millrace.checkpoint.engine.open_files import OpenFiles
from millrace.checkpoint.engine.place import Place
from millrace.checkpoint.engine.read_engine import Engine, threads_for
from millrace.checkpoint.engine.read_plan import ReadPlan, Strictness, plan_reads
from millrace.checkpoint.engine.remote_files import REMOTE_THREADS
from millrace.checkpoint.engine.stalls import StalledRead, Watch
from millrace.checkpoint.formats.byte_items import refusal
from millrace.checkpoint.metrics import ReadMetrics
from millrace.checkpoint.problems import SHOWN, CheckpointError
from millrace.checkpoint.seal import read_seal
from millrace.checkpoint.whole_items import WholeItems
from millrace.records.checkpoint import Problem

SMALL_LOAD = 4 << 20
"""Below this many bytes threads cost more than they bring: the calling thread reads."""
ByteItems = Literal["error", "skip", "trusted", "checked"]
HOW_TO_LOAD = "byte_items='trusted' loads all of them as torch does, allow_globals=(...) those of your own classes"
KEPT_BYTES = 16 << 20
"""How many bytes of checked byte items are kept until they are handed over; others are read and checked again."""


@dataclass(frozen=True)
class LoadOptions:
    """How a reader's user wants it to load; see `ParallelFileSystemReader`."""

    threads: int | None
    on_progress: Callable[[int, int], None] | None
    verify: Strictness
    byte_items: ByteItems
    allow_globals: tuple[type, ...]
    max_staging_bytes: int | None
    stall_s: float | None


class OneLoad:
    """Reads what one plan asks for.

    Args:
        place: the checkpoint's files.
        options: how to load.
        storage: where each item is stored, by its index.
        tensors: what the metadata says of each name.
        transforms: torch's extensions, which undo compression and the like.
        metrics: filled in.
    """

    def __init__(
        self,
        place: Place,
        options: LoadOptions,
        *,
        storage: Mapping[Any, Any],
        tensors: Mapping[str, Any],
        transforms: Any,
        metrics: ReadMetrics,
    ) -> None:
        self._place, self._options, self._metrics = place, options, metrics
        self._storage, self._tensors, self._transforms = storage, tensors, transforms

    def read(self, plan: LoadPlan, planner: LoadPlanner) -> None:
        """Fill all destinations of `plan`.

        Raises:
            CheckpointError: naming every file, tensor and offset that failed, and whether a destination was touched.
        """
        metrics = self._metrics
        metrics.items = len(plan.items)
        watch = Watch(self._options.stall_s)
        opened = OpenFiles(self._place.folder, self._place.files, watch)
        touched = False
        try:
            start = perf_counter()
            placed = watch.wait_for(lambda: self._placed(plan, opened))
            placed.problems += holes(plan, planner, self._tensors)
            metrics.payload_bytes = placed.payload_bytes
            metrics.cold_files = sum(opened.cold)
            metrics.plan_s = perf_counter() - start
            whole = WholeItems(opened, self._storage, self._transforms, check_sums=self._options.verify == "crc")
            self._metrics.skipped.clear()
            kept = watch.wait_for(lambda: self._check(placed, opened, whole))
            if placed.problems:
                raise CheckpointError(str(self._place.path), placed.problems)
            start = perf_counter()
            touched = True
            problems = self._load(placed, opened, whole, planner, kept)
            metrics.read_s = perf_counter() - start
        except StalledRead as stalled:
            raise CheckpointError(str(self._place.path), [Problem(str(stalled), stalled.file)], touched=touched) from stalled
        finally:
            opened.close()
        if problems:
            raise CheckpointError(str(self._place.path), problems, touched=True)
        self._warn_of_skipped()

    def _placed(self, plan: LoadPlan, opened: OpenFiles) -> ReadPlan:
        return plan_reads(plan.items, self._storage, opened, tensors=self._tensors, strict=self._options.verify)

    def _check(self, placed: ReadPlan, opened: OpenFiles, whole: WholeItems) -> dict[int, bytes | None]:
        """What can be known before a destination is touched. Returns checked byte items worth keeping, by position."""
        start = perf_counter()
        kept: dict[int, bytes | None] = {}
        total = 0
        for position, item in enumerate(placed.byte_items):
            data, problem = self._byte_item(item, whole)
            if problem:
                placed.problems.append(problem)
            if data is None:
                kept[position] = None
                continue
            total += len(data)
            if total <= KEPT_BYTES:
                kept[position] = data
        if self._options.verify == "crc" and not placed.problems:
            seal = read_seal(self._place, opened.watch)
            changed = seal.metadata_problem(self._place, opened.watch) if seal else None
            placed.problems += [changed] if changed else []
            for stock in placed.stock:
                _, problem = whole.data(stock.item)
                placed.problems += [problem] if problem else []
            unique = {
                (read.file, read.offset, read.head.data_offset): CheckedItem(
                    read.file, read.offset, read.length, read.head, read.item.storage_index.fqn
                )
                for read in placed.reads
            }
            threads = self._threads_for(placed.payload_bytes)
            placed.problems += crc_problems(unique.values(), opened, threads, seal)
        self._metrics.check_s = perf_counter() - start
        return kept

    def _load(
        self, placed: ReadPlan, opened: OpenFiles, whole: WholeItems, planner: LoadPlanner, kept: dict[int, bytes | None]
    ) -> list[Problem]:
        metrics = self._metrics
        threads = metrics.threads = self._threads_for(placed.payload_bytes)
        inline = threads == 1 or placed.payload_bytes < SMALL_LOAD
        with Engine(opened, threads, inline=inline) as engine:
            loading = Loading(
                engine,
                planner,
                metrics,
                in_order=type(planner).commit_tensor is not DefaultLoadPlanner.commit_tensor,
                staging=self._options.max_staging_bytes,
                on_bytes=self._progress(placed.payload_bytes),
                info_of=lambda item: self._storage[item.storage_index],
            )
            loading.run(placed.reads)
        metrics.read_bytes += engine.read_bytes
        metrics.copy_s = engine.copy_s
        for stock in placed.stock + loading.stock:
            metrics.stock_items += 1
            metrics.stock_reasons[stock.reason] += 1
            self._read_like_stock(stock.item, opened, whole, planner, loading.problems)
        for position, item in enumerate(placed.byte_items):
            data = kept.get(position)
            if data is None and position in kept:
                continue
            if data is None:
                data, problem = opened.watch.wait_for(partial(self._byte_item, item, whole))
                if problem:
                    loading.problems.append(problem)
                if problem or data is None:
                    continue
            metrics.byte_items += 1
            planner.load_bytes(item, io.BytesIO(data))
            loading.on_bytes(len(data))
        return loading.problems

    def _threads_for(self, nbytes: int) -> int:
        wanted = self._options.threads
        if wanted is None and not self._place.is_local:
            wanted = min(REMOTE_THREADS, 1 + nbytes // SMALL_LOAD)
        return threads_for(nbytes, wanted)

    def _read_like_stock(
        self, item: ReadItem, opened: OpenFiles, whole: WholeItems, planner: LoadPlanner, problems: list[Problem]
    ) -> None:
        info = self._storage[item.storage_index]
        try:
            tensor = opened.watch.wait_for(lambda: whole.tensor(item))
            target = planner.resolve_tensor(item).detach()
            if target.size() != tensor.size():
                raise ValueError(f"the saved part has shape {list(tensor.size())} and its destination {list(target.size())}")
            target.copy_(tensor)
            planner.commit_tensor(item, target)
        except StalledRead:
            raise
        except Exception as error:  # noqa: BLE001 - one item's failure becomes a problem with its name
            what = f"torch cannot read it either: {type(error).__name__}: {str(error).strip()[:300]}"
            problems.append(Problem(what, info.relative_path, item.storage_index.fqn, info.offset))

    def _byte_item(self, item: ReadItem, whole: WholeItems) -> tuple[bytes | None, Problem | None]:
        """A byte item, transforms undone, and what is wrong with it; None: it is left out."""
        data, problem = whole.data(item)
        if problem is not None or self._options.byte_items == "trusted":
            return data, problem
        found = refusal(data, self._options.allow_globals)
        if found is None:
            return data, None
        info = self._storage[item.storage_index]
        problem = Problem(f"byte item {found.why}", info.relative_path, item.storage_index.fqn, info.offset)
        if found.kind == "damaged":
            return None, problem
        if self._options.byte_items == "skip":
            self._metrics.skipped[item.storage_index.fqn] = found.why
            return None, None
        return None, structs.replace(problem, what=f"{problem.what}; {HOW_TO_LOAD}")

    def _warn_of_skipped(self) -> None:
        skipped = self._metrics.skipped
        if skipped:
            shown = ", ".join(f"'{name}' ({why})" for name, why in list(skipped.items())[:SHOWN])
            more = f" and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else ""
            warnings.warn(
                f"{self._place.path}: {len(skipped)} values were not loaded and are as they were: {shown}{more}; {HOW_TO_LOAD}",
                stacklevel=3,
            )

    def _progress(self, total: int) -> Callable[[int], None]:
        done = 0
        callback = self._options.on_progress

        def on_bytes(count: int) -> None:
            nonlocal done
            done = min(total, done + count)  # an item that is read a second time counts once
            if callback is not None:
                callback(done, total)

        return on_bytes
