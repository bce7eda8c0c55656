"""A stage of a run: one piece of work with a name, its settings, a plan for `--dry-run`, a check and a run.

A flow is its stages in a row. What a stage needs of the machine around it (workers, a bar, the run's folder) it gets as a
`RunContext`, so that the same stage runs under Prefect and Dask, in a notebook, or in a test.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from millrace.llm.estimate import Planned
    from millrace.llm.settings import ModelSettings
    from millrace.records.summaries import StageSummary
    from millrace.run.context import RunContext

    PlannedCalls = tuple[ModelSettings, Planned]


@dataclass
class Forecast:
    """What the stages so far will do at most; each stage's `plan` reads it and adds its own. None: not known."""

    stages: list[str] = field(default_factory=list)
    """Names of the stages before this one in the same flow."""
    images: int | None = None
    failures: int | None = None
    failure_ids: list[str] = field(default_factory=list)
    """The kinds of failures that can come."""
    selected: int | None = None
    """Failures that become questions."""
    calls: list[PlannedCalls] = field(default_factory=list)
    """What chat models are asked, by whom."""
    calls_for_questions: Callable[[int], list[PlannedCalls]] = lambda questions: []
    """What it takes to put so many finished questions to the baseline."""


class Stage(ABC):
    """One stage. Subclasses are frozen dataclasses with a field `config`: a stage is nothing but its settings."""

    name: ClassVar[str]
    """Its folder in the run's folder, its subflow, its line in a report."""
    on_cluster: ClassVar[bool] = True
    """Whether it maps shards over workers; else it works in this process, or in programs that it starts."""
    feeds: ClassVar[tuple[str, ...]] = ()
    """Stages that work on what it leaves in the same folder: they start over when it is taken up again."""

    summary_type: ClassVar[type[StageSummary]]
    """The type of its summary: what `run` returns, and `summary.json` in its folder holds."""

    config: BaseModel
    """Its part of the flow's config, which the run's folder keeps; a subclass names its own class."""

    @property
    def section(self) -> str:
        """The name under which the run's folder keeps the settings and the state."""
        return self.name

    @property
    def hosts(self) -> int:
        """Machines that it wants a program on at the same time."""
        return 1

    def notes(self, raw: Mapping[str, Any]) -> list[str]:
        """Warnings about settings that are valid but may do something else than their author expects.

        Args:
            raw: the config file as it was written.
        """
        del raw
        return []

    def plan(self, run_dir: Path, forecast: Forecast) -> list[str]:
        """What it will do, a line each; touches nothing. Adds to `forecast` what comes out at most."""
        del run_dir, forecast
        return []

    def check(self, run_dir: Path, earlier: list[str]) -> None:
        """See that settings and input are workable, before anything is started; sends no request.

        Args:
            run_dir: the run's folder.
            earlier: names of the stages that run before it in the same flow; what they make need not be there yet.

        Raises:
            UsageError, InputError: what is wrong, in one sentence.
        """

    def reach(self) -> None:
        """See that what it needs beyond this machine (endpoints, GPUs) is there, before anything is started.

        Raises:
            UsageError: it is not; the message says what and what to do.
        """

    def outdated(self, run_dir: Path) -> bool:
        """Whether a part of what it finished there has to be done again: its input has grown, or a limit was raised at which
        something broke off. Only looks; asked before the folder takes this config.
        """
        del run_dir
        return False

    def reopen(self, folder: Path) -> None:
        """Take back that part; it is called with the stage's own folder, from which `summary.json` has been taken already."""

    @abstractmethod
    def run(self, run: RunContext, folder: Path) -> StageSummary:
        """Do it.

        Args:
            run: what the stages of a run share.
            folder: the stage's own; what is finished in it is kept when a run is taken up again.

        Returns:
            Its summary, which is kept as `summary.json` in the folder and says that the stage is complete.
        """

    def is_short(self, summary: Any) -> bool:
        """Whether it is complete, but short of its target. `summary` is of `summary_type`."""
        return bool(summary.is_short)

    def facts(self) -> Mapping[str, str]:
        """What the manifest keeps beside the state of a finished run."""
        return {}


def check_in_order(stages: Sequence[Stage], run_dir: Path) -> None:
    """`Stage.check` of all stages of a flow, each told which stages run before it.

    Raises:
        UsageError, InputError: what is wrong, in one sentence.
    """
    for place, stage in enumerate(stages):
        stage.check(run_dir, [earlier.name for earlier in stages[:place]])
