"""Carries out placed reads with a few threads: long runs of files go by `preadv` straight to their destinations.

The calling thread resolves destinations and commits them (a planner may not be thread-safe); workers only read, and so does
the calling thread when it would have to wait for them. Neighbouring
small items become one run with one system call for up to 500 of them, big ones are cut into chunks that threads share. Every
run owns a piece of scratch memory for the bytes between payloads, where the heads predicted by the plan are then checked.
"""

from __future__ import annotations

import ctypes
import os
import queue
import threading
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

from millrace.checkpoint.engine.open_files import OpenFiles
from millrace.checkpoint.engine.read_plan import Read
from millrace.checkpoint.engine.stalls import StalledRead
from millrace.checkpoint.engine.vector_io import Files, read_fully, will_need
from millrace.checkpoint.formats.item_heads import check_descriptor
from millrace.checkpoint.formats.item_pickle import UnusualItemError

CHUNK_BYTES = 4 << 20
"""Payload per run: 1 to 8 MiB measured the same; smaller ones cost calls, larger ones leave threads idle at the end."""
RUN_RANGES = 1000
"""Ranges per run, just under what one `preadv` takes."""
SCRATCH_BYTES = 1 << 20
"""For the bytes between payloads of one run: about 1.5 KB an item, at most 500 items."""
SKIPPED_GAP = 16 << 10
"""A gap up to this long is read and thrown away: copying 16 KiB costs about as much as another system call."""
TRASH_BYTES = SKIPPED_GAP
"""The end of each scratch: where unneeded gaps go."""
MOST_THREADS = 8
"""The page cache is saturated by then on the machines we know; more can be asked for."""


@dataclass(slots=True)
class Pending:
    """A resolved read under way: committed when `left` runs have come back without a failure."""

    read: Read
    order: int
    target: object
    address: int
    left: int = 0
    failure: str | None = None
    mismatch: bool = False
    """The head was not the predicted one: what was read is not the tensor."""


@dataclass(slots=True)
class Check:
    """A head or descriptor to look at when its run is in scratch memory."""

    pending: Pending
    head_at: int
    """Position in scratch; -1: nothing to check."""
    tail_at: int


@dataclass(slots=True)
class Run:
    """One stretch of a file, for one worker."""

    file: int
    start: int
    end: int
    ranges: array[int]
    scratch: Scratch
    members: list[Pending] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    payload: int = 0
    work: Callable[[], None] | None = None
    """Something else to do in the worker instead of reading ranges."""
    seconds: float = 0.0


class Scratch:
    """Memory for what lies between payloads."""

    def __init__(self) -> None:
        self.data = bytearray(SCRATCH_BYTES)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.data))
        self.used = 0


def threads_for(nbytes: int, wanted: int | None) -> int:
    """How many threads a load of `nbytes` is worth: one for less than two chunks, at most one per core this rank may count on."""
    if wanted is not None:
        return max(1, wanted)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    return max(1, min(MOST_THREADS, cores // max(1, ranks), nbytes // (2 * CHUNK_BYTES) + 1))


class Engine:
    """Workers over one queue of runs, with a bounded number under way. Use as a context manager.

    The calling thread is one of `threads`: it reads whenever it would have to wait. With one thread, or `inline`, it does all.
    Where a read may have to wait for a server, though, the calling thread only looks whether the others come back.
    """

    def __init__(self, opened: OpenFiles, threads: int, *, inline: bool) -> None:
        self.opened = opened
        self.files: Files = opened.files
        self.threads = threads
        self.read_bytes = 0
        self.copy_s = 0.0
        self._todo: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Run] = queue.SimpleQueue()
        self._under_way = 0
        self._limit = 2 * threads + 2
        self._scratches: list[Scratch] = []
        self._finished: list[Run] = []
        self._watched = opened.watch.stall_s is not None and not opened.local
        self._inline = inline and not self._watched
        self._workers: list[threading.Thread] = []

    def __enter__(self) -> Engine:
        if not self._inline:
            for number in range(self.threads - (not self._watched)):
                worker = threading.Thread(target=self._serve, name=f"checkpoint-read-{number}", daemon=True)
                worker.start()
                self._workers.append(worker)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for _worker in self._workers:
            self._todo.put(None)
        if kind is not None and issubclass(kind, StalledRead):
            return  # they may never come back; what they write to lives as long as they do
        for worker in self._workers:
            worker.join()

    def scratch(self) -> Scratch:
        """Scratch memory for the next run; waits for a run to come back when too many are under way."""
        while self._under_way >= self._limit:
            self._help_or_wait()
        if self._scratches:
            scratch = self._scratches.pop()
            scratch.used = 0
            return scratch
        return Scratch()

    def submit(self, run: Run) -> None:
        """Have a run done; it counts for each of its members."""
        for pending in run.members:
            pending.left += 1
        self._under_way += 1
        if self._inline:
            self._perform(run)
            self._take(run)
        else:
            if run.work is None and self.opened.cold[run.file]:
                with self.opened.use(run.file) as handle:
                    will_need(handle, run.start, run.end - run.start)
            self._todo.put(run)

    def finished(self, *, wait: bool = False) -> list[Run]:
        """The runs that came back since the last call; with `wait`, all that are still under way too."""
        while self._under_way and (wait or not self._done.empty()):
            self._help_or_wait()
        runs, self._finished = self._finished, []
        return runs

    def _help_or_wait(self) -> None:
        """Take a run that a worker has done, do the next one here, or wait for a worker when all are taken.

        In this order: runs that are done and not taken count as under way, and with enough of them the workers would get no more.
        """
        run = _next(self._done)
        if self._watched:
            self._take(run or self._watch_for_one())
            return
        if run is None:
            run = _next(self._todo)
            if run is not None:
                self._perform(run)
        self._take(run or self._done.get())

    def _watch_for_one(self) -> Run:
        while True:
            try:
                return self._done.get(timeout=self.opened.watch.look_s)
            except queue.Empty:
                self.opened.watch.check()

    def _take(self, run: Run) -> None:
        self._under_way -= 1
        self.copy_s += run.seconds
        self.read_bytes += run.end - run.start
        self._scratches.append(run.scratch)
        self._finished.append(run)

    def _serve(self) -> None:
        while True:
            run = self._todo.get()
            if run is None:
                return
            self._perform(run)
            self._done.put(run)

    def _perform(self, run: Run) -> None:
        start = perf_counter()
        try:
            if run.work is not None:
                run.work()
            else:
                with self.opened.use(run.file) as handle:
                    read_fully(self.files, handle, run.ranges, run.start)
                _check(run)
        except EOFError as error:
            _fail(run, f"the file ends at byte {error.args[0]}, while bytes {run.start} to {run.end} were read")
        except OSError as error:
            _fail(run, f"cannot be read: {error.strerror or error} (errno {error.errno}, bytes {run.start} to {run.end})")
        except UnusualItemError:
            for pending in run.members:
                pending.mismatch = True
        except Exception as error:  # noqa: BLE001 - a failing item must not take the worker with it
            _fail(run, f"{type(error).__name__}: {error}")
        run.seconds = perf_counter() - start


def _next(runs: queue.SimpleQueue[Run] | queue.SimpleQueue[Run | None]) -> Run | None:
    try:
        return runs.get_nowait()
    except queue.Empty:
        return None


def _fail(run: Run, what: str) -> None:
    for pending in run.members:
        pending.failure = what


def _check(run: Run) -> None:
    data = run.scratch.data
    for check in run.checks:
        head = check.pending.read.head
        if check.head_at >= 0 and not data.startswith(head.raw, check.head_at):
            check.pending.mismatch = True
        elif check.tail_at >= 0:
            try:
                check_descriptor(bytes(data[check.tail_at : check.tail_at + head.descriptor_nbytes]), head)
            except UnusualItemError:
                check.pending.mismatch = True
