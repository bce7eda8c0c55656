"""From a config to the list of runs: every run with its id, its exact hyperparameters and its backgrounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from millrace.errors import UsageError
from millrace.run.ids import content_id, random_for
from millrace.training.mutation import Key, Mutations, choose_names, key_of, mutate
from millrace.training.parameters import Value, spell
from millrace.training.programs import Program, load_program
from millrace.training.results.tables import brief
from millrace.training.settings import Background, Experiment, TrainingConfig, TrainingJob


@dataclass(frozen=True)
class PlannedRun:
    """One training to be measured. `hyperparameters` are those that are passed; `mutated` names the drawn ones."""

    id: str
    title: str
    experiment: str
    mode: str
    number: int
    of: int
    job: Experiment
    program: Program
    hyperparameters: dict[str, Value]
    mutated: tuple[str, ...] = ()
    backgrounds: tuple[Background, ...] = ()

    @property
    def short_title(self) -> str:
        """Its title for people: numbers with 4 digits. The exact ones are passed, recorded and in the report's table."""
        return brief(self.title)


@dataclass(frozen=True)
class Plan:
    """All runs, in order, and what is to be said about them (spaces that are exhausted, sets left out)."""

    runs: list[PlannedRun]
    notes: list[str] = field(default_factory=list)


def plan_runs(config: TrainingConfig, earlier: Mapping[tuple[str, bool], Sequence[Mapping[str, Value]]] | None = None) -> Plan:
    """Every run of `config`.

    Args:
        config: the settings.
        earlier: sets that were run before, by (workload, with backgrounds), for deduplication.

    Raises:
        UsageError: an unknown workload, parameter or mode; a background in a mode that has none.
    """
    runs: list[PlannedRun] = []
    notes = list(config.notes)
    used: dict[tuple[str, bool], set[Key]] = {}
    for index, experiment in enumerate(config.experiments):
        runs += _runs_of(experiment, index, config, earlier or {}, used, notes)
    ids = [run.id for run in runs]
    assert len(set(ids)) == len(ids), "two runs of one plan have the same content"
    if not runs:
        raise UsageError("nothing to run: " + "; ".join(notes or ["no experiment has a run"]))
    return Plan(runs, notes)


def _runs_of(
    experiment: Experiment,
    index: int,
    config: TrainingConfig,
    earlier: Mapping[tuple[str, bool], Sequence[Mapping[str, Value]]],
    used: dict[tuple[str, bool], set[Key]],
    notes: list[str],
) -> list[PlannedRun]:
    mode = experiment.mode or config.mode
    where = f"experiments.{index}"
    program = load_program(experiment.workload, config, experiment.parameters, where=f"{where}.workload")
    fixed = program.complete(experiment.hyperparameters, where=f"{where}.hyperparameters")
    _check(experiment, mode, program, config, where)
    name = experiment.name or f"{index + 1} {mode} {experiment.workload}"
    notes += _without_effect(experiment, program, name)
    for background in experiment.backgrounds if mode == "parallel" else ():
        other = load_program(background.workload, config)
        notes += _without_effect(background, other, f"{name}, background {background.id or background.workload}")
    count = experiment.runs_per_config or config.runs_per_config
    drawn = mode == "mutation" or (
        mode == "parallel" and (experiment.foreground_mode or _foreground_mode(experiment)) == "mutation"
    )
    backgrounds = tuple(_named(experiment.backgrounds)) if mode == "parallel" else ()
    group = (experiment.workload, bool(backgrounds))
    if drawn:
        names = [n for n in choose_names(program.parameters, experiment.mutate, where=f"{where}.mutate") if n not in fixed]
        if not names:
            raise UsageError(f"{where}.mutate: every parameter to mutate is also fixed under hyperparameters")
        known = _known(program, names, earlier.get(group, ()), used.get(group, set())) if config.deduplicate else set()
        generator = random_for(config.seed, name, experiment.workload, "mutation")
        found: Mutations = mutate(program.parameters, names, count, generator, fixed=fixed, known=known)
        if found.exhausted:
            notes.append(f"{name}: {count} runs were asked for, but only {len(found.sets)} sets are left to draw")
        sets = [{**fixed, **values} for values in found.sets]
        used.setdefault(group, set()).update(key_of(values) for values in found.sets)
    else:
        names, sets = [], [dict(fixed) for _ in range(count)]
    runs = []
    for number, values in enumerate(sets, 1):
        shown = " ".join(f"{key}={spell(values[key])}" for key in sorted(names) if key in values)
        beside = f" beside {len(backgrounds)} background{'s' * (len(backgrounds) != 1)}" if backgrounds else ""
        content = [
            _without_additions(experiment.model_dump(mode="json", exclude={"name", "runs_per_config", "mutate"})),
            name,
            mode,
            {key: [type(value).__name__, spell(value)] for key, value in values.items()},
            number if not drawn else 0,
        ]
        title = f"{name} {number}/{len(sets)}{beside}{': ' + shown if shown else ''}"
        runs.append(
            PlannedRun(
                content_id("run", *content),
                title,
                name,
                mode,
                number,
                len(sets),
                experiment,
                program,
                values,
                tuple(sorted(names)),
                backgrounds,
            )
        )
    return runs


ADDED: dict[str, float | None] = {"shortest_s": 1.0, "passed_as": None, "off_flag": None, "cpu_limit": None}
"""Settings that came after the first run folders were written: at these defaults they are no part of a run's id."""

LABELS = {"original"}
"""Settings that only name something."""


def _without_additions(content: Any) -> Any:
    if isinstance(content, dict):
        kept = {key: value for key, value in content.items() if key not in LABELS and (key not in ADDED or value != ADDED[key])}
        return {key: _without_additions(value) for key, value in kept.items()}
    return [_without_additions(value) for value in content] if isinstance(content, list) else content


def _without_effect(job: TrainingJob, program: Program, name: str) -> list[str]:
    """What was asked for and does not reach a foreign program, because its command has no place for it."""
    asked = {
        "processes": job.processes if job.processes > 1 else None,
        "device": job.resources.device if job.resources.device != "cpu" else None,
        "gpu_memory_fraction": job.resources.gpu_memory_fraction,
    }
    found = [
        f"{name}: {key} {value} has no effect: the command of {program.name} has no {{{key}}}"
        for key, value in asked.items()
        if value is not None and not program.takes(key)
    ]
    if job.checkpoint_every and program.external is not None:
        found.append(f"{name}: checkpoint_every has no effect: {program.name} decides itself what it saves and when")
    return found


def _foreground_mode(experiment: Experiment) -> str:
    return "mutation" if experiment.mutate else "default"


def _check(experiment: Experiment, mode: str, program: Program, config: TrainingConfig, where: str) -> None:
    if experiment.backgrounds and mode != "parallel":
        raise UsageError(f"{where}: backgrounds belong to mode parallel, not {mode}")
    if experiment.mutate and (mode == "default" or experiment.foreground_mode == "default"):
        raise UsageError(f"{where}: `mutate` has no meaning in mode default; use mutation, or leave it out")
    if experiment.processes > 1 and program.external is None and not program.scales:
        raise UsageError(f"{where}: {program.name} trains in one process only; set processes: 1")
    for number, background in enumerate(experiment.backgrounds):
        place = f"{where}.backgrounds.{number}"
        other = load_program(background.workload, config, where=f"{place}.workload")
        other.complete(background.hyperparameters, where=f"{place}.hyperparameters")
        if background.processes > 1 and other.external is None and not other.scales:
            raise UsageError(f"{place}: {other.name} trains in one process only; set processes: 1")
    ids = [background.id for background in _named(experiment.backgrounds)]
    for name in ids:
        if ids.count(name) > 1:
            raise UsageError(f"{where}: two backgrounds are called '{name}'")


def _named(backgrounds: Sequence[Background]) -> list[Background]:
    """Every background by itself, with an id and its time to start."""
    made: list[Background] = []
    for background in backgrounds:
        for copy in range(background.count):
            name = background.id or background.workload.replace("/", "-")
            number = f"-{len(made) + 1}" if background.id is None or background.count > 1 else ""
            start = background.start_after_s + copy * background.stagger_s
            made.append(background.model_copy(update={"id": f"{name}{number}", "count": 1, "start_after_s": start}))
    return made


def _known(program: Program, names: Sequence[str], earlier: Sequence[Mapping[str, Value]], used: set[Key]) -> set[Key]:
    """The keys of earlier sets, restricted to `names` and read as the parameters' own types."""
    keys = set(used)
    for values in earlier:
        try:
            keys.add(key_of({name: program.parameters[name].convert(values[name]) for name in names if name in values}))
        except ValueError:
            continue
    return keys
