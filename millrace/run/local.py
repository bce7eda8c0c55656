"""A run in this process: no server, no scheduler. For notebooks, scripts and tests."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pydantic import BaseModel

from millrace.errors import MillraceError, RunFailed
from millrace.processes.janitor import sweep
from millrace.run.context import RunContext, per_shard
from millrace.run.folder import RunFolder
from millrace.run.machines import Machines
from millrace.run.progress import Progress
from millrace.run.stage import Stage

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class LocalRun(RunContext):
    """A run whose shards are worked on here, one after the other or by a pool of processes. See `open_local_run`."""

    def __init__(self, flow: str, folder: RunFolder, progress: Progress, workers: int) -> None:
        super().__init__(flow, folder, progress)
        self.workers = workers

    @property
    def machines(self) -> Machines | None:
        """None: programs are started here."""
        return None

    def map(self, function: Callable[..., R], *arguments: Any, on_done: Callable[[R], object] | None = None) -> list[R]:
        """See `RunContext.map`."""
        shards = per_shard(arguments)
        with self.timeline.work(self.stage_name):
            if self.workers == 1 or len(shards) < 2:
                return self._one_by_one(function, shards, on_done)
            return self._in_a_pool(function, shards, on_done)

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """See `RunContext.call`."""
        with self.timeline.work(self.stage_name):
            return function(*args, **kwargs)

    def _inside(self, stage: Stage, work: Callable[[], T]) -> T:
        return work()

    def _one_by_one(
        self, function: Callable[..., R], shards: list[tuple[Any, ...]], on_done: Callable[[R], object] | None
    ) -> list[R]:
        results: list[R] = []
        failed: list[Exception] = []
        for shard in shards:
            try:
                results.append(function(*shard))
            except Exception as error:  # noqa: BLE001 - one shard's failure must not lose the others' results
                failed.append(error)
            else:
                if on_done is not None:
                    on_done(results[-1])
        raise_first(failed, len(shards), self.stage_name)
        return results

    def _in_a_pool(
        self, function: Callable[..., R], shards: list[tuple[Any, ...]], on_done: Callable[[R], object] | None
    ) -> list[R]:
        results: dict[int, R] = {}
        failed: list[Exception] = []
        # spawn: a forked child of a process with threads (torch, Arrow) can hang
        with ProcessPoolExecutor(min(self.workers, len(shards)), multiprocessing.get_context("spawn")) as pool:
            places: dict[Future[R], int] = {pool.submit(function, *shard): place for place, shard in enumerate(shards)}
            try:
                for future in as_completed(places):
                    try:
                        results[places[future]] = future.result()
                    except BrokenProcessPool as error:
                        raise RunFailed(f"a worker process of {self.stage_name} ended in the middle of a shard") from error
                    except Exception as error:  # noqa: BLE001 - as above
                        failed.append(error)
                    else:
                        if on_done is not None:
                            on_done(results[places[future]])
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        raise_first(failed, len(shards), self.stage_name)
        return [results[place] for place in range(len(shards))]


def raise_first(failed: list[Exception], shards: int, stage: str) -> None:
    """Raise what shards failed with, if any did: a MillraceError as it is, another with the number of shards that failed."""
    for error in failed:
        if isinstance(error, MillraceError):
            raise error
    if failed:
        first = failed[0]
        message = f"{len(failed)} of {shards} shards of {stage} failed, the first with {type(first).__name__}: {first}"
        raise RunFailed(message) from first


@contextlib.contextmanager
def open_local_run(flow: str, sections: Mapping[str, BaseModel], run_dir: Path, workers: int = 1) -> Iterator[LocalRun]:
    """Open the run in `run_dir`; a failure is written into its manifest.

    Args:
        flow: the name under which the folder keeps the state.
        sections: the configs that the run stands for, by name.
        run_dir: the run's folder, new or to be taken up again.
        workers: processes; 1 works in this one.
    """
    with RunFolder.open(run_dir, sections) as folder, Progress(flow) as progress:
        with contextlib.suppress(OSError):  # a system without /proc has nothing to sweep
            sweep()
        run = LocalRun(flow, folder, progress, workers)
        try:
            yield run
        except MillraceError as error:
            folder.finish(flow, "failed", error=str(error))
            raise
