"""A flow of Millrace: a Prefect flow where its file is imported, a command where its file is run.

    @flow(TrainingConfig, stages)
    def training(run: RunContext, config: TrainingConfig) -> TrainingRun:
        for stage in stages(config):
            run.do(stage)
        …

    if __name__ == "__main__":
        training.main()

`from flows.training import training` gives a Prefect flow with the parameters `config` and `run_dir`. `python -m flows.training`
runs the file as `__main__`, where `training` is the command line, and neither Prefect nor torch is imported until a run starts.
The run's own Dask workers import the file once more as `__mp_main__` (multiprocessing's name): a flow and its form would cost
each of them 1 s.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import BaseModel

from millrace.errors import UsageError, did_you_mean
from millrace.orchestration.run_dir import RunDir
from millrace.run.cluster_settings import ClusterSettings
from millrace.run.context import RunContext
from millrace.run.folder import RunFolder
from millrace.run.reopening import take_up
from millrace.run.stage import Forecast, Stage, check_in_order

if TYPE_CHECKING:
    from millrace.orchestration.clusters.cluster import ClusterStart

Subcommand = Callable[[Sequence[str]], int]
FlowFunction = Callable[[RunContext, Any], msgspec.Struct | Mapping[str, Any]]
"""Does the stages of a flow and returns its summary: a record, or plain JSON."""

PARAMETERS = """

Args:
    config: ready settings by name, a file of yours, or every setting.
    settings: what is changed most; an empty one stays as the config has it (null is written under `advanced`).
    advanced: any other settings, as a config file has them: {"probing": {"seed": 3}}.
    run_dir: the run's folder: new, or one to be taken up again.
"""
"""Ends every flow's docstring; Prefect's form takes the parameters' help from it."""


@dataclass(frozen=True)
class Definition:
    """A flow's parts, as `flow` got them."""

    name: str
    function: FlowFunction
    config: type[BaseModel]
    stages: Callable[[Any], Sequence[Stage]]
    cluster: Callable[[Any], ClusterSettings | None]
    doc: str
    """The file's docstring: what `--help` says first."""
    tasks: str
    """The package of Prefect tasks that belongs to the flow's."""
    often: Sequence[str] = ()
    """The settings that people change from run to run, dotted: what the run form shows beside the config's name."""
    arguments: Callable[[Sequence[str]], Sequence[str]] = list
    subcommands: Mapping[str, Subcommand] = field(default_factory=dict)

    def sections(self, config: BaseModel) -> dict[str, BaseModel]:
        """The parts of a run's folder that this flow answers for."""
        return {stage.section: stage.config for stage in self.stages(config)}

    def task_modules(self, config: BaseModel) -> list[str]:
        """The modules of the Prefect tasks that its stages map: of `millrace.qa.…` it is `tasks.qa`."""
        domains = [type(stage).__module__.split(".") for stage in self.stages(config)]
        return [f"{self.tasks}.{path[1]}" for path in domains if path[0] == "millrace"]

    def plan(self, config: BaseModel, run_dir: Path) -> list[str]:
        """What `--dry-run` prints; touches nothing."""
        self.check_shapes(config)
        forecast = Forecast()
        lines = [f"run folder: {run_dir}"]
        for stage in self.stages(config):
            lines += stage.plan(run_dir, forecast)
            forecast.stages.append(stage.name)
        if forecast.calls:
            from millrace.llm.estimate import lines_of
            from millrace.llm.run_chats import ledger_of_run

            lines += lines_of(forecast.calls, ledger_of_run(run_dir))
        return lines

    def needs_prefect(self, config: BaseModel) -> bool:
        """Whether a run of the command has a Prefect server and tasks; else it works on this machine alone (`cluster: none`)."""
        cluster = self.cluster(config)
        return cluster is None or not cluster.is_none

    def check(self, config: BaseModel, run_dir: Path) -> None:
        """See that the config, the input and what lies beyond this machine are workable, before anything is started.

        Raises:
            UsageError, InputError: what is wrong, in one sentence.
        """
        self.check_shapes(config)
        stages = self.stages(config)
        check_in_order(stages, run_dir)
        if (cluster := self.cluster(config)) is not None:
            from millrace.orchestration.clusters.cluster import check_cluster

            check_cluster(cluster, run_dir, hosts=max(stage.hosts for stage in stages))
        for stage in stages:
            stage.reach()

    def check_shapes(self, config: BaseModel) -> None:
        """See that `cluster.stages` names stages of this flow.

        Raises:
            UsageError: it names another one.
        """
        names = [stage.name for stage in self.stages(config)]
        cluster = self.cluster(config)
        for given in cluster.stages if cluster is not None else ():
            if given not in names:
                raise UsageError(f"cluster.stages: this run has no stage '{given}'{did_you_mean(given, names)}")

    def take_up(self, config: BaseModel, run_dir: Path) -> None:
        """Take a finished run up again where one of its stages is outdated."""
        take_up(self.stages(config), run_dir)

    def run(self, config: BaseModel, folder: RunFolder, begun: ClusterStart | None) -> dict[str, Any]:
        """Do the run in `folder`, inside a Prefect flow run; returns the summary with the `status`."""
        if not self.needs_prefect(config):
            from millrace.orchestration.cancellation import obeying_cancel

            with obeying_cancel(folder.logs / "orphaned.log"):
                return self.run_here(config, folder)
        from millrace.orchestration.prefect_run import open_prefect_run

        with open_prefect_run(self.name, folder, self.cluster(config), begun, self.tasks) as run:
            return self._done(run, config)

    def run_here(self, config: BaseModel, folder: RunFolder) -> dict[str, Any]:
        """Do the run in `folder` with processes of our own; returns the same."""
        from millrace.run.local import local_run_in

        cluster = self.cluster(config)
        assert cluster is not None
        with local_run_in(folder, self.name, cluster.workers, in_processes=True, shapes=cluster.stages) as run:
            return self._done(run, config)

    def _done(self, run: RunContext, config: BaseModel) -> dict[str, Any]:
        summary = self.function(run, config)
        run.finish(self.stages(config))
        return {**msgspec.to_builtins(summary), "status": run.status}


def flow(
    config: type[BaseModel],
    stages: Callable[[Any], Sequence[Stage]],
    *,
    cluster: Callable[[Any], ClusterSettings | None] = lambda config: config.cluster,
    often: Sequence[str] = (),
    arguments: Callable[[Sequence[str]], Sequence[str]] = list,
    subcommands: Mapping[str, Subcommand] | None = None,
) -> Callable[[FlowFunction], Any]:
    """Make a flow of a function that does its stages and returns its summary.

    Args:
        config: the flow's settings: the YAML's schema, the command line's, the form's.
        stages: from the settings to the stages, in their order.
        cluster: from the settings to where shards are worked on; None: the flow maps no shards.
        often: the settings that people change from run to run, dotted, in the form's order.
        arguments: rewrites the command line's arguments before they are read.
        subcommands: other things that the command does when its first argument names them.
    """

    def decorate(function: FlowFunction) -> Any:
        module = sys.modules[function.__module__]
        package = module.__spec__.name.rpartition(".")[0] if module.__spec__ is not None else "flows"
        definition = Definition(
            name=function.__name__,
            function=function,
            config=config,
            stages=stages,
            cluster=cluster,
            often=often,
            doc=(module.__doc__ or "").strip(),
            tasks=f"{package.rpartition('flows')[0]}tasks",
            arguments=arguments,
            subcommands=subcommands or {},
        )
        if function.__module__ in ("__main__", "__mp_main__"):
            from millrace.orchestration.flow_command import FlowCommand

            return FlowCommand(definition)
        return prefect_flow(definition)

    return decorate


def prefect_flow(definition: Definition, folder: RunFolder | None = None, begun: ClusterStart | None = None) -> Any:
    """The Prefect flow of `definition`, with the parameters `config`, `settings`, `advanced` (form.py) and `run_dir`.

    Args:
        definition: of the flow.
        folder: a folder that the caller holds, and has checked the config for; None: the flow takes `run_dir` itself.
        begun: a cluster that the caller has begun to start; the flow closes it.
    """
    import prefect

    from millrace.orchestration import form
    from millrace.orchestration.flow_log import also_to_file
    from millrace.orchestration.run_name import run_name

    def body(config: Any, settings: Any, advanced: Any, run_dir: Path) -> Mapping[str, Any]:
        config = form.settled(definition.name, definition.config, config, settings, advanced)
        with contextlib.ExitStack() as stack:
            held = stack.enter_context(_held(definition, config, run_dir, folder))
            if folder is None:  # the command line logs there already
                stack.enter_context(also_to_file(held.logs / "flow.log"))
            return definition.run(config, held, begun)

    default = Path("runs") / definition.name
    body.__name__ = body.__qualname__ = definition.function.__name__
    body.__module__ = definition.function.__module__
    body.__doc__ = (definition.function.__doc__ or "").rstrip() + PARAMETERS
    few = form.settings_type(definition.name, definition.config, definition.often)
    body.__annotations__ = {
        "config": form.config_type(definition.name, definition.config),
        "settings": few,
        "advanced": dict[str, Any],
        "run_dir": RunDir,
        "return": dict,
    }
    _check_defaults(definition.config)
    body.__defaults__ = (form.DEFAULTS, {}, {}, default)
    decorator: Any = prefect.flow(name=definition.name, flow_run_name=run_name)
    made = decorator(body)
    made.definition = definition
    return made


@contextlib.contextmanager
def _held(definition: Definition, config: BaseModel, run_dir: Path, folder: RunFolder | None) -> Iterator[RunFolder]:
    if folder is not None:
        yield folder
        return
    definition.check(config, run_dir)
    definition.take_up(config, run_dir)
    with RunFolder.open(run_dir, definition.sections(config)) as taken:
        yield taken


def _check_defaults(config: type[BaseModel]) -> None:
    try:
        config()
    except ValueError as error:
        raise UsageError(f"{config.__name__} needs a value for every field: {error}") from error
