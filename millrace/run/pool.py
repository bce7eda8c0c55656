"""Worker processes on this machine, for a run without a cluster: started in milliseconds, and one that dies costs only its shard.

All workers are forked from one process that has imported what they need (multiprocessing's fork server): a fork of this process,
which has threads, could hang, and a new Python for each worker would import everything once more.

Covers: a worker that ends in the middle of a shard (the shard is tried once more in another one, as on a Dask cluster, then it
fails alone); the end of this process in any way, `kill -9` among them (the workers end with it; what they started ends by its own
lifelines); Ctrl-C in a terminal (the workers do not hear it, their owner stops them).
Does not cover: limits on a worker's memory.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from types import MappingProxyType
from typing import Any

from millrace.errors import RunFailed
from millrace.processes import kernel
from millrace.run import clock
from millrace.run.timeline import Timed

TRIES = 2
"""Times that a shard is begun when its workers end: with Dask's `allowed-failures: 1` it is the same."""
STOP_S = 5.0
"""What an idle worker may take to close what it has open; then it is killed."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""As Dask starts its workers: as many workers as cores leave one for each, and sums of floats come out the same."""
ALONE = ONE_THREAD | {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""The fork server's: what it imports starts no threads, Arrow's allocator among them."""

Outcome = tuple[int, "Timed[Any] | Exception"]
"""A shard's place, and what came of it."""


class WorkerPool:
    """Worker processes that are kept from one `map` to the next; use as a context manager.

    Args:
        size: how many at most; they are started as there is work for them.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._workers: list[_Worker] = []

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def map(
        self,
        function: Callable[..., Any],
        shards: Sequence[tuple[Any, ...]],
        *,
        at_once: int | None = None,
        limit_s: float | None = None,
    ) -> Generator[Outcome, None, None]:
        """Call `function` for each shard; yields what came of them as they finish. Leaving the loop early ends those at work.

        Args:
            function: of a module that the workers can import.
            shards: the arguments for each.
            at_once: how many shards at the same time; None: as many as there are workers.
            limit_s: how long a shard may take; then its worker is killed, and the shard gives a RunFailed. None: for ever.
        """
        size = min(self.size, at_once or self.size)
        ends: dict[_Worker, float] = {}
        waiting = deque((place, 1) for place in range(len(shards)))
        busy: dict[_Worker, tuple[int, int]] = {}
        try:
            while waiting or busy:
                while waiting and len(busy) < size:
                    place, attempt = waiting.popleft()
                    worker = self._free(busy, function.__module__)
                    busy[worker] = place, attempt
                    worker.begin(function, shards[place])
                    if limit_s is not None:
                        ends[worker] = time.monotonic() + limit_s
                next_s = max(0.0, min(ends[worker] for worker in busy) - time.monotonic()) if ends else None
                ready = wait([end for worker in busy for end in (worker.pipe, worker.process.sentinel)], next_s)
                for worker in [worker for worker in busy if worker.pipe in ready or worker.process.sentinel in ready]:
                    place, attempt = busy.pop(worker)
                    ends.pop(worker, None)
                    result = worker.result()
                    if result is not None:
                        yield place, result
                        continue
                    self._workers.remove(worker)
                    if attempt < TRIES:
                        waiting.append((place, attempt + 1))
                    else:
                        yield place, BrokenProcessPool("a worker process ended in the middle of a shard")
                for worker in [worker for worker in busy if ends.get(worker, math.inf) <= time.monotonic()]:
                    place, _ = busy.pop(worker)
                    del ends[worker]
                    worker.process.kill()
                    worker.end(STOP_S)
                    self._workers.remove(worker)
                    yield place, RunFailed(f"a shard took longer than shard_timeout_s = {limit_s:g} s and was ended")
        finally:
            for worker in busy:
                worker.process.kill()
                worker.end(0.0)
                self._workers.remove(worker)

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.tell_to_end()
        while self._workers:
            self._workers.pop().end(STOP_S)

    def _free(self, busy: Mapping[_Worker, object], module: str) -> _Worker:
        for worker in self._workers:
            if worker not in busy and worker.process.is_alive():
                return worker
        self._workers.append(_Worker(module))
        return self._workers[-1]


class _Worker:
    def __init__(self, module: str) -> None:
        start_fork_server([module])
        context = multiprocessing.get_context("forkserver")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, dict(os.environ) | ONE_THREAD), name="shards")
        self.process.start()
        theirs.close()

    def begin(self, function: Callable[..., Any], shard: tuple[Any, ...]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has died meanwhile: `result` says so
            self.pipe.send((function, shard))

    def result(self) -> Timed[Any] | Exception | None:
        """What came of the shard; None: the worker has ended."""
        try:
            found: Timed[Any] | Exception = self.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            self.end(STOP_S)
            return None
        return found

    def tell_to_end(self) -> None:
        with contextlib.suppress(OSError):
            self.pipe.send(None)

    def end(self, wait_s: float) -> None:
        self.process.join(wait_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


_starting = threading.Lock()


def start_fork_server(preload: Sequence[str], environment: Mapping[str, str] = MappingProxyType({})) -> None:
    """Start what workers are forked from, unless it runs.

    Args:
        preload: modules to be imported there once instead of in each worker; beside them what this process has of Millrace.
        environment: variables of it and its workers beside ours.
    """
    with _starting:
        if forkserver._forkserver._forkserver_pid is None:  # type: ignore[attr-defined]
            known = [name for name in sys.modules if name.startswith("millrace.")]
            multiprocessing.get_context("forkserver").set_forkserver_preload([*preload, *known])
        changed = ALONE | dict(environment)
        own = {name: os.environ.get(name) for name in changed}
        resource_tracker.ensure_running()  # when it starts it unblocks SIGINT in the thread that needed it first
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        os.environ.update(changed)
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            for name, value in own.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def _work(pipe: Connection, environment: dict[str, str]) -> None:
    """What a worker does: shard after shard, until it is told to end or its owner is gone."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    _end_with_the_owner()
    os.environ.clear()
    os.environ.update(environment)
    while True:
        try:
            order = pipe.recv()
        except (EOFError, OSError):
            return
        if order is None:
            return
        function, shard = order
        result = _done(function, shard)
        try:
            pipe.send(result)
        except (pickle.PicklingError, TypeError, AttributeError) as error:  # nothing was sent yet
            pipe.send(RunFailed(f"what {function.__name__} returned cannot be handed on: {error}"))


def _end_with_the_owner() -> None:
    """The owner may be killed: its end closes a pipe that a thread here watches, and ends the fork server, whose end kills us."""
    server: Any = forkserver._forkserver  # type: ignore[attr-defined]
    if server._forkserver_alive_fd is not None:  # held open here it would keep the fork server alive
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = server._forkserver_address = None
    with contextlib.suppress(OSError):  # not Linux
        kernel.set_parent_death_signal(signal.SIGKILL)
    owner = multiprocessing.parent_process()
    assert owner is not None

    def watch() -> None:
        owner.join()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="owner", daemon=True).start()


def _done(function: Callable[..., Any], shard: tuple[Any, ...]) -> Timed[Any] | Exception:
    started = clock.now()
    try:
        return Timed(function(*shard), started, clock.now(), clock.ANCHOR)
    except Exception as error:  # noqa: BLE001 - raised again, or counted, by the run
        error.add_note(traceback.format_exc())
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        except Exception:  # noqa: BLE001 - an exception of anybody's
            return RunFailed(f"{type(error).__name__}: {error}")
        return error
