"""A run under Prefect: each stage a subflow, each shard a task on a Dask worker, what it shows an artifact in the UI."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar

from millrace.errors import MillraceError, RunFailed
from millrace.llm.store.spent import SpentSoFar
from millrace.orchestration.abandoned import LIMIT
from millrace.orchestration.artifacts import LiveArtifact, ProgressArtifacts, show_markdown, show_table
from millrace.orchestration.cancellation import obeying_cancel
from millrace.orchestration.clusters.cluster import ClusterStart, dashboard_link, placed, shaped, task_runner
from millrace.orchestration.clusters.hosts import Cluster
from millrace.orchestration.prefect_tasks import shard_task_of, step_task_of
from millrace.processes.held_signals import signals_held
from millrace.processes.janitor import sweep
from millrace.run.cluster_settings import ClusterSettings
from millrace.run.context import RunContext, per_shard
from millrace.run.folder import RunFolder
from millrace.run.local import raise_first
from millrace.run.progress import Progress
from millrace.run.stage import Stage

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class PrefectRun(RunContext):
    """A run inside a flow run. Made by `open_prefect_run`."""

    def __init__(
        self,
        flow: str,
        folder: RunFolder,
        progress: Progress,
        cluster: ClusterSettings | None,
        begun: ClusterStart | None,
        tasks: str,
    ) -> None:
        super().__init__(flow, folder, progress, cluster.stages if cluster is not None else None)
        self.maps_shards = cluster is not None
        self.cluster = cluster or ClusterSettings()
        self.tasks = tasks
        self._begun = begun

    @property
    def scheduler(self) -> str:
        """The Dask scheduler's address; starts the cluster if need be and waits for it."""
        if self._begun is None:
            self._begun = ClusterStart(self.cluster, self.folder.path)
        return self._begun.address

    @property
    def machines(self) -> Cluster:
        """The hosts of the cluster's workers."""
        return Cluster(self.scheduler, self.cluster.resources)

    def map(self, function: Callable[..., R], *arguments: Any, on_done: Callable[[R], object] | None = None) -> list[R]:
        """See `RunContext.map`: one Prefect task for each shard."""
        task = shard_task_of(function, self.tasks)
        shards = per_shard(arguments)
        values: dict[int, R] = {}
        failed: list[Exception] = []
        for place, future in self._as_they_finish(task, arguments, len(shards)):
            try:
                values[place] = self.timeline.add(self.stage_name, future.result())
            except Exception as error:  # noqa: BLE001 - one shard's failure must not lose the others' results
                failed.append(self._named(error))
            else:
                if on_done is not None:
                    on_done(values[place])
        raise_first(failed, len(shards), self.stage_name)
        return [values[place] for place in range(len(shards))]

    def _as_they_finish(self, task: Any, arguments: Sequence[Any], shards: int) -> Iterator[tuple[int, Any]]:
        """Submit a task for each shard, as many at once as the stage wants; yields place and future as they end."""
        from prefect.futures import as_completed

        shape = self.shape
        waiting = deque(enumerate(per_shard(arguments)))
        at_work: dict[Any, int] = {}
        with shaped(shape.resources, {LIMIT: shape.shard_timeout_s} if shape.shard_timeout_s else {}):
            if shape.workers is None or shape.workers >= shards:
                at_work = {_submitted(task, shard): place for place, shard in waiting}
                yield from ((at_work[future], future) for future in as_completed(list(at_work)))
                return
            while waiting or at_work:
                while waiting and len(at_work) < shape.workers:
                    place, shard = waiting.popleft()
                    at_work[_submitted(task, shard)] = place
                future = next(iter(as_completed(list(at_work))))
                yield at_work.pop(future), future

    def _named(self, error: Exception) -> Exception:
        """A worker that had to be ended with its shard shows only that it is gone."""
        limit = self.shape.shard_timeout_s
        if limit is None or type(error).__name__ != "KilledWorker":
            return error
        return RunFailed(f"a shard took longer than {LIMIT} = {limit:g} s and did not stop, or its workers died; they were ended")

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """See `RunContext.call`: a Prefect task in this process."""
        with self.timeline.work(self.stage_name):
            result: R = step_task_of(function, self.tasks)(*args, **kwargs)
        return result

    def on_gpus(self, needed: bool) -> AbstractContextManager[Any]:
        """Shards mapped in the block go to workers that offer `cluster.resources`, when they compute on a GPU (`needed`)."""
        return placed(self.cluster.resources if needed else {})

    def live_text(self, key: str, title: str) -> Callable[[str], None]:
        """See `RunContext.live_text`: an artifact in the Prefect UI."""
        return LiveArtifact(key, title).show

    def show_text(self, key: str, text: str, title: str) -> None:
        """See `RunContext.show_text`: an artifact in the Prefect UI."""
        show_markdown(key, text, title)

    def show_table(self, key: str, rows: Sequence[dict[str, str] | dict[str, str | int]], title: str) -> None:
        """See `RunContext.show_table`: an artifact in the Prefect UI."""
        show_table(key, rows, title)

    def announce(self) -> None:
        """Show in the UI where the run's folder, its logs and, on a cluster of the user's, Dask's dashboard are."""
        lines = [f"Folder: `{self.folder.path}`", f"Log: `{self.folder.logs / 'flow.log'}`"]
        if self.maps_shards and (link := dashboard_link(self.cluster)):
            lines.append(f"Dask: [{link}]({link})")
        show_markdown("run-folder", "\n\n".join(lines), "Where the run is")

    def close(self) -> None:
        """Stop the cluster, if one was started."""
        if self._begun is not None:
            self._begun.close()

    def _inside(self, stage: Stage, work: Callable[[], T]) -> T:
        from prefect import flow

        runner = {"task_runner": task_runner(self.scheduler)} if stage.on_cluster else {}
        make: Any = flow  # its overloads know no task runner of unknown kind
        name = f"{stage.name} in {self.folder.path.name}"
        subflow = make(work, name=stage.name, flow_run_name=name, validate_parameters=False, **runner)
        result: T = subflow()
        return result

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """As None: Prefect pickles the flow with every task, and with it this object, which no worker needs."""
        return type(None), ()


def _submitted(task: Any, shard: Sequence[Any]) -> Any:
    """The future of one shard; one by one, so that a cancel is heard between two of them."""
    with signals_held():
        return task.submit(*shard)


@contextlib.contextmanager
def open_prefect_run(
    flow: str, folder: RunFolder, cluster: ClusterSettings | None, begun: ClusterStart | None, tasks: str
) -> Iterator[PrefectRun]:
    """A run in `folder`, inside the flow run of this thread; a failure is written into its manifest.

    Args:
        flow: the flow's name.
        folder: the run's, held by this process.
        cluster: where shards are worked on; None: the flow maps none.
        begun: a cluster that is being started already; the run closes it.
        tasks: the package of Prefect tasks, `tasks`.
    """
    bar = Progress(flow, on_show=ProgressArtifacts(flow), spent=SpentSoFar(folder.path))
    with obeying_cancel(folder.logs / "orphaned.log"), bar as progress:
        with contextlib.suppress(OSError):  # a system without /proc has nothing to sweep
            if swept := sweep():
                progress.say(f"ended {len(swept)} processes that a killed run had left behind: {swept}")
        run = PrefectRun(flow, folder, progress, cluster, begun, tasks)
        with contextlib.suppress(Exception):  # the folder, not the API, is the truth of a run; what only shows it must not end it
            run.announce()
        try:
            yield run
        except MillraceError as error:
            folder.finish(flow, "failed", error=str(error))
            raise
        finally:
            run.close()
