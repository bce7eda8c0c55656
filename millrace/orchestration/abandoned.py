"""Wraps every mapped shard: records when it was at work, and stops it when its run is gone or its time is over.

When a run was cancelled or killed, a local cluster ends with it. On a cluster that goes on (`cluster.address`) a shard would work
to its end, pay for calls and keep its journal locked against the next run in the same folder. Dask forgets the tasks of a flow
that is gone within seconds; the shard looks whether its worker still knows its task.

Covers: shards in worker threads of Dask, whatever they wait for in Python; past its limit (`shard_timeout_s`) also a shard in one
long call into C: its worker is ended, and with it what it started. Does not cover: such a call of a run that is gone (the shard
ends after it), workers that have lost their scheduler (they end, and the shard with them).
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from millrace.errors import RunFailed
from millrace.run import clock
from millrace.run.timeline import Timed

P = ParamSpec("P")
R = TypeVar("R")

EVERY_S = 2.0
"""How often a shard looks; it is one look-up in a dictionary."""


LIMIT = "shard_timeout_s"
"""The Dask annotation of a task that may take so many seconds."""
GRACE_S = 10.0
"""How long a shard past its limit may take to clean up; then its worker is ended. Dask tries it once more on another one."""


class ShardTimedOut(BaseException):
    """Raised in the middle of a shard that takes too long. Not an Exception, as `Abandoned`."""


class Abandoned(BaseException):
    """Raised in the middle of a shard. Not an Exception: it must not become the failure of an item."""


def timed(work: Callable[P, R]) -> Callable[P, Timed[R]]:
    """Have `work` record when it was done, and end when its run is gone; for the mapped tasks in `tasks/`, under `@task`."""

    @wraps(work)
    def measured(*args: P.args, **kwargs: P.kwargs) -> Timed[R]:
        started = clock.now()
        try:
            with ended_when_abandoned():
                value = work(*args, **kwargs)
        except ShardTimedOut:
            spent = clock.now() - started
            raise RunFailed(f"a shard took longer than its {LIMIT} and was ended after {spent:.1f} s") from None
        return Timed(value, started, clock.now(), clock.ANCHOR)

    return measured


@contextlib.contextmanager
def ended_when_abandoned() -> Iterator[None]:
    """Work that ends when the Dask task that it is part of is forgotten. Outside of Dask's workers the block just runs.

    Raises:
        Abandoned: the run that wanted the result is gone.
        ShardTimedOut: the time that the task may take is over.
    """
    task = _current_task()
    if task is None:
        yield
        return
    over, lock = threading.Event(), threading.Lock()
    thread = threading.get_ident()

    limit_s = _limit_of(*task)
    end = time.monotonic() + limit_s

    def interrupt(reason: type[BaseException]) -> None:
        with lock:
            if not over.is_set():
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(reason))

    def watch() -> None:
        while not over.wait(max(0.0, min(EVERY_S, end - time.monotonic()))):
            if _is_forgotten(*task):
                interrupt(Abandoned)
                return
            if time.monotonic() >= end:
                interrupt(ShardTimedOut)
                return

    _end_worker_at(end + GRACE_S)
    threading.Thread(target=watch, name="abandoned", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        _end_worker_at(math.inf)
        with lock:  # what is raised now is raised in here, not in whatever this thread does next
            pass


def _current_task() -> tuple[Any, str] | None:
    if "distributed" not in sys.modules:
        return None
    from distributed import get_worker

    try:
        worker = get_worker()  # type: ignore[no-untyped-call]
        return worker, str(worker.get_current_task())
    except (ValueError, AttributeError, KeyError):
        return None


_ends: dict[int, float] = {}
_setting = threading.Lock()


def _end_worker_at(moment: float) -> None:
    """Have the kernel end this process at `moment` unless this thread has named another one by then.

    SIGALRM ends a process that has no handler for it. A thread could not: a call into C may hold Python's lock all the time.
    """
    with _setting:
        before = _ends.pop(threading.get_ident(), None)
        if moment < math.inf:
            _ends[threading.get_ident()] = moment
        if _ends:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, min(_ends.values()) - time.monotonic()))
        elif before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0.0)


def _limit_of(worker: Any, key: str) -> float:
    task = worker.state.tasks.get(key)
    return float(((task.annotations if task is not None else None) or {}).get(LIMIT, math.inf))


def _is_forgotten(worker: Any, key: str) -> bool:
    task = worker.state.tasks.get(key)
    return task is None or task.state == "cancelled"
