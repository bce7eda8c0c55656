"""One run of a flow: its folder, its progress bar, its clock and, when it is first needed, its Dask cluster.

A flow opens a session and works through its stages in it. A stage that is complete has a `summary.json` in its folder and is
skipped when the run is taken up again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from millrace.errors import MillraceError, RunFailed
from millrace.orchestration.artifacts import ProgressArtifacts, show_markdown
from millrace.orchestration.cancellation import obeying_cancel
from millrace.orchestration.clusters.cluster import (
    ClusterSettings,
    ClusterStart,
    begin_cluster,
    dashboard_link,
    placed,
    task_runner,
)
from millrace.orchestration.clusters.hosts import Cluster
from millrace.processes.janitor import sweep
from millrace.run.folder import RunFolder
from millrace.run.journal import read_json, write_json
from millrace.run.progress import Progress
from millrace.run.timeline import Timeline

T = TypeVar("T")


class Session:
    """What the stages of a run share. Made by `open_session`."""

    def __init__(self, flow: str, folder: RunFolder, progress: Progress, cluster: ClusterSettings) -> None:
        self.flow = flow
        self.folder = folder
        self.progress = progress
        self.timeline = Timeline(folder.since)
        self._cluster = cluster
        self._begun: ClusterStart | None = None

    def start_cluster(self) -> ClusterStart:
        """Begin starting the cluster in the background; work that needs none goes on meanwhile."""
        if self._begun is None:
            self._begun = begin_cluster(self._cluster, self.folder.path)
        return self._begun

    @property
    def scheduler(self) -> str:
        """The Dask scheduler's address; starts the cluster if need be and waits for it."""
        return self.start_cluster().address

    @property
    def cluster(self) -> Cluster:
        """Where programs can be started on several hosts; starts the cluster if need be and waits for it."""
        return Cluster(self.scheduler, self._cluster.resources)

    def on_gpus(self, needed: bool) -> AbstractContextManager[Any]:
        """Tasks mapped in the block go to workers that offer `cluster.resources`, when they compute on a GPU (`needed`)."""
        return placed(self._cluster.resources if needed else {})

    def announce(self) -> None:
        """Show in the UI where the run's folder, its logs and, on a cluster of the user's, Dask's dashboard are."""
        lines = [f"Folder: `{self.folder.path}`", f"Log: `{self.folder.logs / 'flow.log'}`"]
        if link := dashboard_link(self._cluster):
            lines.append(f"Dask: [{link}]({link})")
        show_markdown("run-folder", "\n\n".join(lines), "Where the run is")

    def close(self) -> None:
        """Stop the cluster, if one was started."""
        if self._begun is not None:
            self._begun.close()

    def stage(self, name: str, work: Callable[[Path], dict[str, Any]], *, on_cluster: bool = True) -> dict[str, Any]:
        """Do one stage as a Prefect subflow and keep its summary; a stage that is complete is only read.

        Args:
            name: the stage, its folder and its subflow.
            work: gets the stage's folder and returns its summary, to which `seconds` and `work_seconds` are added.
            on_cluster: whether the subflow's tasks are mapped over Dask.
        """
        folder = self.folder.stage(name)
        kept = folder / "summary.json"
        if kept.exists():
            summary: dict[str, Any] = read_json(kept)
            self.progress.say(f"{name}: already done")
            return summary
        with self.timeline.within(name):
            summary = self._subflow(name, lambda: work(folder), on_cluster=on_cluster)
        spent = self.timeline.seconds()["stages"][name]
        summary |= {"seconds": round(spent["wall"], 3), "work_seconds": round(spent["work"], 3)}
        write_json(kept, summary)
        return summary

    def gather(self, stage: str, futures: Sequence[Any], on_done: Callable[[Any], None]) -> list[Any]:
        """What mapped shards return, in their order; counts when they were worked on.

        All shards are waited for before a failure is raised, so that what could be done is done and kept.

        Args:
            stage: whose work it is.
            futures: of tasks under `timed`.
            on_done: called with each value as its shard finishes.

        Raises:
            RunFailed: shards failed for a reason that is not ours; how many, and the first.
            MillraceError: a shard's own.
        """
        from prefect.futures import as_completed

        futures = list(futures)
        values: dict[Any, Any] = {}
        troubles: list[BaseException] = []
        for future in as_completed(futures):
            try:
                values[future] = self.timeline.add(stage, future.result())
            except Exception as error:  # noqa: BLE001 - one shard's failure must not lose the others' results
                troubles.append(error)
            else:
                on_done(values[future])
        for trouble in troubles:
            if isinstance(trouble, MillraceError):
                raise trouble
        if troubles:
            first = troubles[0]
            said = f"{len(troubles)} of {len(futures)} shards of {stage} failed, the first with {type(first).__name__}: {first}"
            raise RunFailed(said) from first
        return [values[future] for future in futures]

    def _subflow(self, name: str, work: Callable[[], T], *, on_cluster: bool) -> T:
        from prefect import flow

        runner: dict[str, Any] = {"task_runner": task_runner(self.scheduler)} if on_cluster else {}
        make: Any = flow  # its overloads know no task runner of unknown kind
        stage = make(work, name=name, flow_run_name=f"{name} in {self.folder.path.name}", validate_parameters=False, **runner)
        result: T = stage()
        return result

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Prefect sends the flow along with every task, and the stage's flow knows the session: it stays at home."""
        return type(None), ()


@contextlib.contextmanager
def open_session(flow: str, sections: Mapping[str, BaseModel], run_dir: Path, cluster: ClusterSettings) -> Iterator[Session]:
    """Open the run in `run_dir` for `flow`; notes in the manifest when it fails.

    Args:
        flow: the flow's name.
        sections: the configs that the run stands for, by flow name.
        run_dir: the run's folder, new or to be taken up again.
        cluster: where shards are worked on.
    """
    with (
        obeying_cancel(run_dir.absolute() / "logs" / "orphaned.log"),
        RunFolder.open(run_dir, sections) as folder,
        Progress(flow, on_show=ProgressArtifacts(flow)) as progress,
    ):
        with contextlib.suppress(OSError):  # a system without /proc has nothing to sweep
            if swept := sweep():
                progress.say(f"ended {len(swept)} processes that a killed run had left behind: {swept}")
        session = Session(flow, folder, progress, cluster)
        with contextlib.suppress(Exception):  # the folder, not the API, is the truth of a run; what only shows it must not end it
            session.announce()
        try:
            yield session
        except MillraceError as error:
            folder.finish(flow, "failed", error=str(error))
            raise
        finally:
            session.close()
