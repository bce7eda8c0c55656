"""One training: the trainer's program, supervised, and what it left behind.

A training that ends has `trained.json` in its folder; one that was killed starts over, and gives the same model. When one fails,
those that have not begun are not started.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from millrace.errors import InputError, MillraceError, RunFailed
from millrace.improve.trainers import Plugin, open_trainer, trainer_settings
from millrace.processes.supervised import supervised
from millrace.records.improve import Trained, TrainingJob
from millrace.run.journal import read_record, write_atomic, write_json

DONE = "trained.json"
LOG = "training.log"
FAILED = "failed.txt"
"""Beside the trainings' folders: one has failed, and which."""
POLL_S = 0.5


def train_arm(job: TrainingJob, trainer: Mapping[str, Any], records: int) -> Trained:
    """Train one arm under one seed, unless that is done.

    Args:
        job: which.
        trainer: the plug-in's name and settings.
        records: in its training set.

    Raises:
        RunFailed: the program failed, took too long, or left nothing that loads; one sentence with its last words.
    """
    folder = Path(job.folder)
    if (folder / DONE).exists():
        return read_record(folder / DONE, Trained)
    failed = folder.parent / FAILED
    if failed.exists():
        raise RunFailed(f"the training {job.name} was not begun, for another had failed: {failed.read_text()}")
    try:
        trained = _train(job, open_trainer(trainer), trainer_settings(trainer), records)
    except (MillraceError, OSError) as error:
        if not failed.exists():
            write_atomic(failed, str(error))
        raise error if isinstance(error, MillraceError) else RunFailed(f"the training {job.name} failed: {error}") from error
    write_json(folder / DONE, trained)
    return trained


def begin_again(trainings: Path) -> None:
    """Forget what failed in an earlier attempt."""
    (trainings / FAILED).unlink(missing_ok=True)


def _train(job: TrainingJob, trainer: Plugin, settings: Any, records: int) -> Trained:
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    _remove(Path(job.result))
    command = trainer.command(settings, job)
    seconds = None
    if command is not None:
        started = time.monotonic()
        _run(job, command, trainer.time_limit_s(settings))
        seconds = round(time.monotonic() - started, 2)
    try:
        model = trainer.model(settings, job)
    except InputError as error:
        raise RunFailed(f"the training {job.name} left no model that loads: {error}") from error
    return Trained(arm=job.arm, number=job.number, model=model, records=records, seconds=seconds)


def _run(job: TrainingJob, command: list[str], limit_s: float) -> None:
    log = Path(job.folder) / LOG
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), "PYTHONUNBUFFERED": "1"}
    deadline = time.monotonic() + limit_s
    try:
        with supervised(command, log=log, env=environment, grace_s=5.0) as process:
            while (code := process.wait(POLL_S)) is None:
                if time.monotonic() > deadline:
                    process.stop()
                    raise RunFailed(f"the training {job.name} had not ended after {limit_s:.0f} s and was stopped; see {log}")
            said = _rank_words(Path(job.folder)) or last_words(process.tail(4000))
    except OSError as error:
        raise RunFailed(f"the training {job.name} could not be started: {command[0]}: {error.strerror or error}") from error
    if code != 0:
        raise RunFailed(f"the training {job.name} ended with {code} ({said or 'it said nothing'}); see {log} and {job.folder}")


def last_words(text: str) -> str:
    """The last line that is no progress and no frame of a traceback."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("{", " ", "="))]
    return lines[-1][:400] if lines else ""


def _rank_words(folder: Path) -> str:
    """What a rank of torchrun said last, where the trainer sent its output into files of its own."""
    files = sorted(folder.rglob("stderr.log"), key=lambda file: file.stat().st_mtime)
    return next((words for file in reversed(files) if (words := last_words(file.read_text(errors="replace")))), "")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
