"""What the stages of one run share: its folder, its bar, its clock, and where work is done.

`LocalRun` (local.py) works in this process or a pool of processes; `PrefectRun` (orchestration/prefect_run.py) makes a subflow of
each stage and a Prefect task of each piece of work. A stage cannot tell them apart, and its records are the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar

from msgspec import structs

from millrace.errors import RunFailed, UsageError
from millrace.processes.time_limit import TimedOut, can_be_limited, time_limit
from millrace.records.summaries import StageSummary
from millrace.run.cluster_settings import StageShape
from millrace.run.folder import RunFolder
from millrace.run.journal import read_record, write_json
from millrace.run.machines import Machines
from millrace.run.progress import Progress
from millrace.run.stage import Stage
from millrace.run.timeline import Timeline

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Same(NamedTuple, Generic[T]):
    """An argument of `RunContext.map` that is the same for every shard."""

    value: T


class RunContext(ABC):
    """One run: it runs the stages and gives them what they share (see the top of the file).

    Args:
        flow: the flow's name.
        folder: the run's folder, held by this process.
        progress: the bar.
        shapes: by stage: what it wants, and how long it may take.
    """

    def __init__(self, flow: str, folder: RunFolder, progress: Progress, shapes: Mapping[str, StageShape] | None = None) -> None:
        self.flow = flow
        self.folder = folder
        self.progress = progress
        self.shapes = shapes or {}
        self.timeline = Timeline(folder.since)
        self.stage_name = flow
        """The name of the stage that is running: shards' time is counted for it."""
        self.summaries: dict[str, StageSummary] = {}
        """By stage: what it returned."""
        self.short: set[str] = set()
        """Stages that are complete, but short of their target."""

    def do(self, stage: Stage) -> StageSummary:
        """Do one stage and keep its summary; a stage that is complete is only read.

        Returns:
            What the stage returned, with `seconds` (wall time) and `work_seconds` (see timeline.py) of the attempt that did it.
        """
        folder = self.folder.stage(stage.name)
        kept = folder / "summary.json"
        if kept.exists():
            found = read_record(kept, stage.summary_type)
            self.progress.say(f"{stage.name}: already done")
        else:
            outer, self.stage_name = self.stage_name, stage.name
            with self.timeline.within(stage.name):
                found = self._limited(stage, lambda: self._inside(stage, lambda: stage.run(self, folder)))
            self.stage_name = outer
            spent = self.timeline.seconds().stages[stage.name]
            times = {"seconds": round(spent.wall, 3), "work_seconds": round(spent.work, 3)}
            found = structs.replace(found, **times)
            write_json(kept, found)
        self.summaries[stage.name] = found
        if stage.is_short(found):
            self.short.add(stage.name)
        return found

    @property
    def shape(self) -> StageShape:
        """Of the stage that is running."""
        return self.shapes.get(self.stage_name, StageShape())

    def _limited(self, stage: Stage, work: Callable[[], T]) -> T:
        """Call `work` within the stage's `timeout_s`.

        Raises:
            RunFailed: it took longer; everything that it has started is ended.
        """
        limit = self.shape.timeout_s
        if limit is not None and not can_be_limited():
            raise UsageError(f"cluster.stages.{stage.name}.timeout_s needs the main thread of a process, and this is another one")
        try:
            with time_limit(limit):
                return work()
        except TimedOut:
            message = f"{stage.name} took longer than cluster.stages.{stage.name}.timeout_s = {limit:g} s and was ended"
            raise RunFailed(f"{message}; what is finished stays, the same command goes on with it") from None

    @property
    def status(self) -> str:
        """`finished`, or `short` when a stage is short of its target."""
        return "short" if self.short else "finished"

    def finish(self, stages: Sequence[Stage]) -> None:
        """Write down that the run is over: in the manifest, for each of its stages and for the flow."""
        for stage in stages:
            self.folder.finish(stage.section, "short" if stage.name in self.short else "finished", **stage.facts())
        if self.flow not in {stage.section for stage in stages}:
            self.folder.finish(self.flow, self.status)

    @property
    @abstractmethod
    def machines(self) -> Machines | None:
        """Where programs can be started on several hosts; None: only here."""

    @abstractmethod
    def map(self, function: Callable[..., R], *arguments: Any, on_done: Callable[[R], object] | None = None) -> list[R]:
        """Call `function` once for each shard, wherever there are workers; its results in the order of the shards.

        All shards are worked on before a failure is raised, so that what could be done is done and kept.

        Args:
            function: a function of a module that the workers can import.
            arguments: an iterable with a value for each shard, or `Same(value)` for all of them.
            on_done: called with each result as its shard finishes.

        Raises:
            RunFailed: shards failed with an error that is no MillraceError; the message has their number and the first error.
            MillraceError: the first that a shard raised.
        """

    @abstractmethod
    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `function` once, in this process, and count the time as work."""

    def on_gpus(self, needed: bool) -> AbstractContextManager[Any]:
        """Shards mapped in the block go to workers that have a GPU, when they compute on one (`needed`)."""
        del needed
        return nullcontext()

    def live_text(self, key: str, title: str) -> Callable[[str], None]:
        """A function that shows a Markdown text where the run is watched (Prefect's UI); each call replaces the text before."""
        del key, title
        return lambda text: None

    def show_text(self, key: str, text: str, title: str) -> None:
        """Show a Markdown text where the run is watched (Prefect's UI)."""

    def show_table(self, key: str, rows: Sequence[dict[str, str] | dict[str, str | int]], title: str) -> None:
        """Show a table where the run is watched (Prefect's UI)."""

    @abstractmethod
    def _inside(self, stage: Stage, work: Callable[[], T]) -> T:
        """Call `work` inside what surrounds a stage in this kind of run: a Prefect subflow, or nothing."""


def per_shard(arguments: Iterable[Any]) -> list[tuple[Any, ...]]:
    """The arguments of `RunContext.map` as a tuple for each shard.

    Raises:
        ValueError: iterables of different lengths, or nothing to map over.
    """
    given = [argument if isinstance(argument, Same) else list(argument) for argument in arguments]
    lengths = {len(values) for values in given if not isinstance(values, Same)}
    if len(lengths) != 1:
        raise ValueError(f"the shards' arguments have {sorted(lengths)} values: there must be one number of shards")
    number = lengths.pop()
    return [tuple(one.value if isinstance(one, Same) else one[index] for one in given) for index in range(number)]
