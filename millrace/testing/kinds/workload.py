"""Workloads: hyperparameters that arrive as they were given, events while it trains, the metrics that were promised."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from millrace.plugins.loading import load_plugin
from millrace.records.training.events import TrainingEvent
from millrace.testing.kinds import kept
from millrace.testing.plugin_under_test import modules_imported_by
from millrace.training.observation import event_of
from millrace.training.parameters import Parameter, Value, arguments, typed

FOLDER = "millrace.training.workloads"
WORD = "workload"

SMALL: dict[str, Value] = {"epochs": 2, "lr": 0.0012345678901234567, "batch_size": 17, "seed": 7, "max_samples": 68}
"""What of these it has: so little that a large net takes a second; the learning rate has all its digits, which arrive."""


class Run(NamedTuple):
    """One training."""

    code: int
    events: list[TrainingEvent]
    printed: str


@dataclass
class Opened:
    """A workload, what it is trained with, and the trainings so far."""

    module: ModuleType
    name: str
    values: dict[str, Value]
    runs: list[Run] = field(default_factory=list)

    def trained(self, number: int) -> Run:
        """The training of that number, all with the same values."""
        while len(self.runs) <= number:
            with tempfile.TemporaryDirectory() as folder:
                self.runs.append(_train(self, Path(folder)))
        return self.runs[number]


@contextlib.contextmanager
def opened(name: str, settings: Mapping[str, Any]) -> Iterator[Opened]:
    """The workload; `settings` are hyperparameters to train with beside a few small ones that it has."""
    module = load_plugin(FOLDER, name, WORD)
    small = {key: value for key, value in SMALL.items() if key in module.PARAMETERS}
    yield Opened(module, name, small | {key: module.PARAMETERS[key].convert(value) for key, value in settings.items()})


def _train(subject: Opened, folder: Path) -> Run:
    """The training program, run in this process."""
    import torch

    from millrace.training.trainer import worker

    said = io.StringIO()
    term, threads = signal.getsignal(signal.SIGTERM), torch.get_num_threads()
    command = [subject.name, *arguments(subject.module.PARAMETERS, subject.values), "--out", str(folder), "--threads", "1"]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = worker.main(command)
    finally:
        signal.signal(signal.SIGTERM, term)
        torch.set_num_threads(threads)
    events = [event_of(json.loads(line)) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    return Run(code, events, said.getvalue())


def it_can_be_planned_without_torch(subject: Opened) -> None:
    """`--dry-run` reads its hyperparameters and answers at once: import torch in `build`."""
    heavy = modules_imported_by(subject.module.__name__) & {"torch", "sklearn", "transformers"}
    kept(not heavy, f"importing it imports {', '.join(sorted(heavy))}; do that in `build`")


def it_declares_hyperparameters_and_metrics(subject: Opened) -> None:
    """Each with a type and a default, `epochs` and `seed` among them."""
    declared = subject.module.PARAMETERS
    for name, parameter in declared.items():
        kept(
            isinstance(parameter, Parameter),
            f"PARAMETERS['{name}'] is a millrace.training.parameters.Parameter, not {parameter!r}",
        )
        kept(parameter.default is not None, f"PARAMETERS['{name}'] has no default")
    for name in ("epochs", "seed"):
        kept(name in declared, f"PARAMETERS has no '{name}', by which runs are compared")
    kept(subject.module.METRICS, "METRICS is empty: a training that reports nothing could not be told from a broken one")
    kept(subject.module.__doc__, "it has no docstring, which is its help text")


def it_trains_and_uses_exactly_what_it_was_given(subject: Opened) -> None:
    """The events of a training from start to end, with the metrics that it promised."""
    code, events, printed = subject.trained(0)
    kept(code == 0, f"it ended with {code}: {printed.strip().splitlines()[-1:]}")
    kinds = [event.event for event in events if event.event != "progress"]
    epochs = int(subject.values.get("epochs", subject.module.PARAMETERS["epochs"].default))
    kept(kinds == ["start", "ready", *["epoch"] * epochs, "end"], f"its events are {kinds}")
    used = events[0].hyperparameters or {}
    for name, value in subject.values.items():
        kept(typed(used[name]) == typed(value), f"{name} was given as {value!r} and used as {used[name]!r}")
    missing = set(subject.module.METRICS) - set(events[-1].metrics or {})
    kept(events[-1].ok and not missing, f"the training ends without {sorted(missing)}")
    for event in (event for event in events if event.event == "epoch"):
        kept((event.samples or 0) > 0 and (event.wall_s or 0) > 0, f"epoch {event.n} has {event.samples} samples")


def the_same_seed_gives_the_same_training(subject: Opened) -> None:
    """The losses of all epochs, to the last digit."""
    runs = [subject.trained(number).events for number in (0, 1)]
    losses = [[event.loss for event in events if event.event == "epoch"] for events in runs]
    kept(losses[0] == losses[1], f"trained twice with one seed, its losses are {losses[0]} and {losses[1]}")


PROMISES = (
    it_can_be_planned_without_torch,
    it_declares_hyperparameters_and_metrics,
    it_trains_and_uses_exactly_what_it_was_given,
    the_same_seed_gives_the_same_training,
)
