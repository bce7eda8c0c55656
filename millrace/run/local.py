"""A run on this machine alone: no server, no scheduler. For notebooks, scripts, tests, and flows with `cluster: none`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pydantic import BaseModel

from millrace.errors import MillraceError, RunFailed
from millrace.processes.janitor import sweep
from millrace.run.cluster_settings import StageShape
from millrace.run.context import RunContext, per_shard
from millrace.run.folder import RunFolder
from millrace.run.machines import Machines
from millrace.run.pool import WorkerPool
from millrace.run.progress import Progress
from millrace.run.stage import Stage

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_logger = logging.getLogger(__name__)


class LocalRun(RunContext):
    """A run whose shards are worked on here, one after the other or by a pool of processes. See `open_local_run`.

    Args:
        flow, folder, progress, shapes: see `RunContext`.
        workers: processes.
        in_processes: None works on shards in this process where one worker, or one shard, makes a pool needless. True never
            does: a shard that ends its process then does not end the run.
    """

    def __init__(
        self,
        flow: str,
        folder: RunFolder,
        progress: Progress,
        workers: int,
        *,
        in_processes: bool | None = None,
        shapes: Mapping[str, StageShape] | None = None,
    ) -> None:
        super().__init__(flow, folder, progress, shapes)
        self.workers = workers
        self.in_processes = in_processes
        self._pool = WorkerPool(workers)

    @property
    def machines(self) -> Machines | None:
        """None: programs are started here."""
        return None

    def map(self, function: Callable[..., R], *arguments: Any, on_done: Callable[[R], object] | None = None) -> list[R]:
        """See `RunContext.map`."""
        shards = per_shard(arguments)
        if self.in_processes or (self.workers > 1 and len(shards) > 1):
            return self._in_the_pool(function, shards, on_done)
        with self.timeline.work(self.stage_name):
            return self._one_by_one(function, shards, on_done)

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """See `RunContext.call`."""
        with self.timeline.work(self.stage_name):
            return function(*args, **kwargs)

    def close(self) -> None:
        """End the pool's processes."""
        self._pool.close()

    def _inside(self, stage: Stage, work: Callable[[], T]) -> T:
        _logger.info("%s begins in %s", stage.name, self.folder.path)
        result = work()
        _logger.info("%s is done", stage.name)
        return result

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

    def _in_the_pool(
        self, function: Callable[..., R], shards: list[tuple[Any, ...]], on_done: Callable[[R], object] | None
    ) -> list[R]:
        results: dict[int, R] = {}
        failed: list[Exception] = []
        with contextlib.closing(
            self._pool.map(function, shards, at_once=self.shape.workers, limit_s=self.shape.shard_timeout_s)
        ) as outcomes:
            for place, outcome in outcomes:
                if isinstance(outcome, Exception):
                    _logger.error("a shard of %s failed", self.stage_name, exc_info=outcome)
                    failed.append(outcome)
                    continue
                results[place] = self.timeline.add(self.stage_name, outcome)
                if on_done is not None:
                    on_done(results[place])
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
    with RunFolder.open(run_dir, sections) as folder, local_run_in(folder, flow, workers) as run:
        yield run


@contextlib.contextmanager
def local_run_in(
    folder: RunFolder,
    flow: str,
    workers: int,
    *,
    in_processes: bool | None = None,
    shapes: Mapping[str, StageShape] | None = None,
) -> Iterator[LocalRun]:
    """The same in a folder that the caller holds. Arguments: as for `LocalRun`."""
    from millrace.llm.store.spent import SpentSoFar

    with Progress(flow, spent=SpentSoFar(folder.path)) as progress:
        with contextlib.suppress(OSError):  # a system without /proc has nothing to sweep
            if swept := sweep():
                progress.say(f"ended {len(swept)} processes that a killed run had left behind: {swept}")
        run = LocalRun(flow, folder, progress, workers, in_processes=in_processes, shapes=shapes)
        try:
            yield run
        except MillraceError as error:
            folder.finish(flow, "failed", error=str(error))
            raise
        finally:
            run.close()
