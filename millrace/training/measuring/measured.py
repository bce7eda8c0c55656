"""From the setting `measure` to experiments: a command of the user's alone, and beside other commands."""

from __future__ import annotations

import itertools
import math
import os
import shlex
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from millrace.errors import UsageError
from millrace.plugins.loading import plugin_names
from millrace.records.training.look import TrainingLook
from millrace.run.journal import read_record, write_json
from millrace.training.launch import environment_for
from millrace.training.measuring.look import in_words, look_at
from millrace.training.programs import WORKLOADS, Program, build_command
from millrace.training.settings import Background, Experiment, External, Measure, TrainingConfig, TrainingJob

LOOK = "look.json"
SHORTEST_WINDOW_S = 2.0
"""A window of the comparison lasts at least this long, in seconds: shorter ones are mostly what pausing and going on cost."""
FEWEST_EPOCHS = 8
"""With fewer epochs than this the windows within one run are too few: whole runs are compared instead."""
SILENT_S = 1.0
"""A command that prints nothing counts as running this long after its start, in seconds."""


def experiments_of(config: TrainingConfig, folder: Path, say: Callable[[str], None]) -> TrainingConfig:
    """`config` with the experiments that `measure` stands for. The look is taken once for a run folder, and kept there.

    Raises:
        UsageError: the command is none.
        RunFailed: it failed while it was looked at.
    """
    measure = config.measure
    if measure is None:
        return config
    check(measure)
    kept = folder / LOOK
    if measure.epoch is not None:
        look = _as_told(measure)
    elif kept.exists():
        look = read_record(kept, TrainingLook)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        say(f"looking at what {shlex.split(measure.command)[0]} prints, for at most {measure.look_s:g} s")
        program = Program("measured", {}, (), scales=False, external=External(command=shlex.split(measure.command)))
        look = look_at(
            build_command(program, TrainingJob(workload="measured"), {}, folder / "look"),
            cwd=_folder_of(measure),
            env=environment_for(TrainingJob(workload="measured"), program),
            log=folder / "look.log",
            longest_s=measure.look_s,
            grace_s=config.grace_s,
            metrics=measure.metrics,
        )
        write_json(kept, look)
    lines = in_words(look) if measure.epoch is None else []
    for line in lines:
        say(line)
    return _with_experiments(config, measure, look, lines)


def preview(config: TrainingConfig) -> TrainingConfig:
    """`config` as it would be if each epoch were seen; nothing is started.

    Raises:
        UsageError: the command is none.
    """
    if config.measure is None:
        return config
    check(config.measure)
    note = (
        []
        if config.measure.epoch is not None
        else [f"first the command is run alone, for at most {config.measure.look_s:g} s, to find out what its lines mean"]
    )
    return _with_experiments(config, config.measure, _as_told(config.measure), note)


def check(measure: Measure) -> None:
    """See that there are such programs.

    Raises:
        UsageError: there is none, or the line cannot be split into words.
    """
    folder = _folder_of(measure)
    if not folder.is_dir():
        raise UsageError(f"measure.cwd: there is no folder {folder}")
    for where, line in [
        ("measure.command", measure.command),
        *((f"measure.beside.{n}", one) for n, one in enumerate(measure.beside)),
    ]:
        words = _words(line, where)
        if where != "measure.command" and line in plugin_names(WORKLOADS):
            continue
        place = os.fspath(folder / words[0]) if "/" in words[0] else words[0]
        if words[0] != "{python}" and shutil.which(place) is None:
            raise UsageError(f"{where}: there is no program '{words[0]}'")


def _words(line: str, where: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{where}: {error} in: {line}") from error
    if not words:
        raise UsageError(f"{where} is empty")
    return words


def _folder_of(measure: Measure) -> Path:
    return measure.cwd or Path.cwd()


def _as_told(measure: Measure) -> TrainingLook:
    return TrainingLook(
        command=shlex.split(measure.command),
        unit="epoch",
        epoch=measure.epoch or ".",
        ready=None,
        metrics=dict(measure.metrics),
        line="",
        values={},
        seen=0,
        every_s=None,
        of=None,
        ended="by itself",
    )


def _with_experiments(config: TrainingConfig, measure: Measure, look: TrainingLook, notes: list[str]) -> TrainingConfig:
    folder = _folder_of(measure)
    name = _name(shlex.split(measure.command))
    seen = look.unit != "nothing"
    external = {
        name: External(
            command=shlex.split(measure.command),
            cwd=folder,
            ready=look.ready,
            epoch=look.epoch if seen else None,
            metrics=look.metrics,
            required_metrics=[],
        )
    }
    backgrounds: list[Background] = []
    for line in measure.beside:
        if line in plugin_names(WORKLOADS):
            backgrounds.append(Background(workload=line))
            continue
        words = shlex.split(line)
        known = (key for key, one in external.items() if key != name and one.command == words)
        other = next(known, None) or _free(_name(words), external)
        external[other] = External(command=words, cwd=folder, ready_after_s=SILENT_S, required_metrics=[])
        backgrounds.append(Background(workload=other, silent_timeout_s=None))
    in_windows = seen and (look.of is None or look.of >= FEWEST_EPOCHS)
    alone = Experiment(workload=name, mode="default", name=f"{name} alone", runs_per_config=measure.runs)
    beside = Experiment(
        workload=name,
        mode="parallel",
        foreground_mode="default",
        name=f"{name} beside",
        runs_per_config=measure.runs,
        backgrounds=backgrounds,
    )
    per_window = math.ceil(SHORTEST_WINDOW_S / look.every_s) if look.every_s else 1
    if look.of is not None:
        per_window = min(per_window, max(1, look.of // FEWEST_EPOCHS))
    windows = config.colocation.model_copy(
        update={
            "windows": "interleaved" if in_windows else "shared",
            "epochs_per_window": max(per_window, config.colocation.epochs_per_window),
        }
    )
    experiments = [alone] if not backgrounds else [beside] if in_windows else [alone, beside]
    return config.model_copy(
        update={
            "measure": None,
            "experiments": experiments,
            "external": external,
            "colocation": windows if backgrounds else config.colocation,
            "notes": [*config.notes, *notes],
        }
    )


def _name(words: list[str]) -> str:
    """What a command is called: its script, or its program."""
    script = next((word for word in words[1:] if word.endswith((".py", ".sh"))), None)
    module = words[words.index("-m") + 1] if "-m" in words[:-1] else None
    return Path(script or module or words[0]).name or words[0]


def _free(name: str, taken: Mapping[str, External]) -> str:
    """`name`, with a number where another command has it."""
    return next(one for number in itertools.count(1) if (one := name if number == 1 else f"{name}-{number}") not in taken)
