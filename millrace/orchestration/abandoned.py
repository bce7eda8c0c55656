"""Wraps every mapped shard: records when it was at work, and stops it when its run is gone.

When a run was cancelled or killed, a local cluster ends with it. On a cluster that goes on (`cluster.address`) a shard would work
to its end, pay for calls and keep its journal locked against the next run in the same folder. Dask forgets the tasks of a flow
that is gone within seconds; the shard looks whether its worker still knows its task.

Covers: shards in worker threads of Dask, whatever they wait for in Python. Does not cover: a single call into C that takes long
(the shard ends after it), workers that have lost their scheduler (they end, and the shard with them).
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from millrace.run import clock
from millrace.run.timeline import Timed

P = ParamSpec("P")
R = TypeVar("R")

EVERY_S = 2.0
"""How often a shard looks; it is one look-up in a dictionary."""


class Abandoned(BaseException):
    """Raised in the middle of a shard. Not an Exception: it must not become the failure of an item."""


def timed(work: Callable[P, R]) -> Callable[P, Timed[R]]:
    """Have `work` record when it was done, and end when its run is gone; for the mapped tasks in `tasks/`, under `@task`."""

    @wraps(work)
    def measured(*args: P.args, **kwargs: P.kwargs) -> Timed[R]:
        started = clock.now()
        with ended_when_abandoned():
            value = work(*args, **kwargs)
        return Timed(value, started, clock.now(), clock.ANCHOR)

    return measured


@contextlib.contextmanager
def ended_when_abandoned() -> Iterator[None]:
    """Work that ends when the Dask task that it is part of is forgotten. Outside of Dask's workers the block just runs.

    Raises:
        Abandoned: the run that wanted the result is gone.
    """
    task = _current_task()
    if task is None:
        yield
        return
    over, lock = threading.Event(), threading.Lock()
    thread = threading.get_ident()

    def watch() -> None:
        while not over.wait(EVERY_S):
            if _is_forgotten(*task):
                with lock:
                    if not over.is_set():
                        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Abandoned))
                return

    threading.Thread(target=watch, name="abandoned", daemon=True).start()
    try:
        yield
    finally:
        over.set()
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


def _is_forgotten(worker: Any, key: str) -> bool:
    task = worker.state.tasks.get(key)
    return task is None or task.state == "cancelled"
