"""Trainers: settings that name them, a program of a list of words, a model that can be opened at its end, no torch before.

Settings: the trainer's own, and `base`, the model to train as `probing.baseline` names it (`{name: guess}` when it is not given).
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from millrace.config import Settings
from millrace.errors import MillraceError, UsageError
from millrace.improve.formats import open_format
from millrace.improve.train import train_arm
from millrace.improve.trainers import Plugin, format_of, open_trainer, trainer_settings
from millrace.plugins.loading import load_plugin
from millrace.probing.baselines import baseline_settings, open_baseline
from millrace.records.improve import Trained, TrainingJob
from millrace.testing.kinds import kept
from millrace.testing.kinds.training_format import training_set
from millrace.testing.plugin_under_test import modules_imported_by

FOLDER = "millrace.improve.trainers"
WORD = "trainer"
ARM = "targeted"


class Opened(NamedTuple):
    """A trainer with its settings, and a training set in a folder."""

    data: dict[str, Any]
    trainer: Plugin
    settings: Settings
    base: Mapping[str, Any]
    folder: Path


@contextlib.contextmanager
def opened(name: str, settings: Mapping[str, Any]) -> Iterator[Opened]:
    """The trainer, and eight records to train on."""
    base = dict(settings.get("base", {"name": "guess"}))
    data = {"name": name, **{key: value for key, value in settings.items() if key != "base"}}
    with tempfile.TemporaryDirectory() as folder:
        yield Opened(data, open_trainer(data), trainer_settings(data), base, Path(folder))


def _job(subject: Opened) -> TrainingJob:
    folder = subject.folder
    form = open_format(format_of(subject.data))
    for name in ("data", "tuning"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    records = training_set(folder / "images")
    form.write(records, folder / "images", folder / "data" / form.FILE)
    form.write(records[:1], folder / "images", folder / "tuning" / form.FILE)
    training = folder / "trainings" / f"{ARM}-0"
    training.mkdir(parents=True, exist_ok=True)
    return TrainingJob(
        arm=ARM,
        number=0,
        seed=1,
        steps=1,
        images_per_step=2,
        records_per_image=1,
        base=dict(subject.base),
        folder=str(training),
        dataset=str(folder / "data" / form.FILE),
        tuning=str(folder / "tuning" / form.FILE),
        images=str(folder / "images"),
        result=str(training / "model"),
    )


def its_settings_name_it_and_a_format(subject: Opened) -> None:
    """The default of `name` is what a config says; the format is one that there is."""
    default = type(subject.settings).model_fields["name"].get_default()
    short = str(subject.data["name"]).rpartition(".")[2]
    kept(
        str(default).rpartition(".")[2] == short,
        f"the default of `name` is '{default}', and a config says '{subject.data['name']}'",
    )
    try:
        open_format(format_of(subject.data))
    except UsageError as error:
        raise AssertionError(f"its training set cannot be written: {error}") from error


def what_it_cannot_train_it_refuses_with_a_sentence(subject: Opened) -> None:
    """`check` returns, or raises UsageError; an unknown base is no crash."""
    for base in (subject.base, {"name": "mine.model_that_is_not_there"}):
        try:
            subject.trainer.check(subject.settings, base, (ARM,), 1)
        except UsageError as error:
            kept(base is not subject.base, f"it refuses the model that it is tried on: {error}")
            kept("\n" not in str(error), f"what it says about a base is more than a sentence: {error}")
        except Exception as error:
            raise AssertionError(f"check raised {type(error).__name__} for the base {base['name']}: {error}") from error


def its_estimates_are_numbers(subject: Opened) -> None:
    """Seconds of a training, None when they are unknown; a time limit above 0."""
    seconds, limit = subject.trainer.seconds(subject.settings, 10, 40), subject.trainer.time_limit_s(subject.settings)
    kept(seconds is None or seconds >= 0, f"`seconds` gives None or a time, not {seconds!r}")
    kept(isinstance(limit, int | float) and limit > 0, f"`time_limit_s` gives a time above 0, not {limit!r}")


def its_program_leaves_a_model_that_can_be_opened(subject: Opened) -> None:
    """Run for one step, as a run does it; what `model` names is a baseline."""
    job = _job(subject)
    command = subject.trainer.command(subject.settings, job)
    words = command is None or (isinstance(command, list) and bool(command) and all(isinstance(word, str) for word in command))
    kept(words, f"`command` gives None or a list of words, not {command!r}")
    try:
        trained: Trained = train_arm(job, subject.data, 8)
        open_baseline(baseline_settings(trained.model))
    except MillraceError as error:
        raise AssertionError(f"the training did not end with a model: {error}") from error


def importing_it_brings_no_torch(subject: Opened) -> None:
    """The plan of a run and `--help` import it."""
    module = load_plugin(FOLDER, str(subject.data["name"]), WORD).__name__
    kept("torch" not in modules_imported_by(module), f"importing {module} imports torch: import it in the program")


PROMISES = (
    its_settings_name_it_and_a_format,
    what_it_cannot_train_it_refuses_with_a_sentence,
    its_estimates_are_numbers,
    its_program_leaves_a_model_that_can_be_opened,
    importing_it_brings_no_torch,
)
