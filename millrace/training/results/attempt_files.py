"""Attempts on disk: one JSON file for each, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from msgspec import UNSET, structs

from millrace.records.training.attempt import AttemptRecord
from millrace.run.journal import read_record, write_json
from millrace.training.experiments import PlannedRun
from millrace.training.launch import device_in_force, processes_in_force
from millrace.training.parameters import spell


def new_record(run: PlannedRun, number: int) -> AttemptRecord:
    """The record of attempt `number` at `run`, before anything is known of it."""
    return AttemptRecord(
        id=run.id,
        attempt=number,
        experiment=run.experiment,
        title=run.title,
        mode=run.mode,
        workload=run.program.name,
        processes=processes_in_force(run.job, run.program),
        device=device_in_force(run.job, run.program),
        original=run.job.original or UNSET,
        hyperparameters=run.hyperparameters,
        hyperparameters_spelled={name: spell(value) for name, value in run.hyperparameters.items()},
        mutated=list(run.mutated),
        ok=False,
        failure="start_failed",
        failure_detail="",
        written_at="",
    )


def save_attempt(folder: Path, record: AttemptRecord) -> AttemptRecord:
    """Put the record beside the others of its run; returns it with the time."""
    written = structs.replace(record, written_at=datetime.now(UTC).isoformat(timespec="milliseconds"))
    write_json(folder / record.id / f"attempt-{record.attempt}.json", written)
    return written


def attempts_of(folder: Path, run_id: str) -> list[AttemptRecord]:
    """The attempts at one run so far, in order.

    Raises:
        RunFailed: a file is no such record; the message names it and the field.
    """
    files = (folder / run_id).glob("attempt-*.json")
    return sorted((read_record(path, AttemptRecord) for path in files), key=lambda record: record.attempt)


def all_attempts(folder: Path) -> list[AttemptRecord]:
    """Every attempt of a run folder, by time.

    Raises:
        RunFailed: a file is no such record; the message names it and the field.
    """
    files = folder.glob("*/attempt-*.json")
    return sorted((read_record(path, AttemptRecord) for path in files), key=lambda record: record.written_at)


def final_attempts(attempts: Iterable[AttemptRecord]) -> list[AttemptRecord]:
    """The last attempt at each run, by number: times of day may have been set in between."""
    last: dict[str, AttemptRecord] = {}
    for record in attempts:
        if record.id not in last or record.attempt >= last[record.id].attempt:
            last[record.id] = record
    return list(last.values())
