"""Attempts as earlier versions wrote them: the same bytes again, and an error that names file and field for anything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from millrace.errors import RunFailed
from millrace.records.training.attempt import AttemptRecord, known
from millrace.records.training.events import TrainingEvent, TrainingProgress
from millrace.run.journal import read_record, write_json
from millrace.training.results.attempt_files import all_attempts, attempts_of

LINES = Path(__file__).parent / "lines"
WRITTEN = ["training_attempt", "training_attempt_failed"]


@pytest.mark.parametrize("name", WRITTEN)
def test_an_attempt_is_written_as_it_was_before_it_had_a_type(name: str, tmp_path: Path) -> None:
    write_json(tmp_path / "again.json", read_record(LINES / f"{name}.json", AttemptRecord))
    assert (tmp_path / "again.json").read_bytes() == (LINES / f"{name}.json").read_bytes()


def changed(tmp_path: Path, change: Any) -> Path:
    """A run folder whose only attempt is a written one with a change."""
    record = orjson.loads((LINES / "training_attempt.json").read_bytes())
    change(record)
    (tmp_path / record["id"]).mkdir()
    write_json(tmp_path / record["id"] / "attempt-1.json", record)
    return tmp_path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda record: record["epochs"][1].update(wall_s="2"), r"epochs\[1\]\.wall_s: expected `int \| float`, got `str`"),
        (lambda record: record["epochs"][0].update(load="alone"), r"epochs\[0\]\.load: invalid enum value 'alone'"),
        (lambda record: record["backgrounds"][0]["ends"][0].pop("cause"), r"missing required field `cause`|ends\[0\]"),
        (lambda record: record["comparison"]["slowdown"].update(pairs=None), r"comparison\.slowdown\.pairs: expected `int`"),
        (lambda record: record["energy"][0].update(kind="guessed"), r"energy\[0\]\.kind: invalid enum value"),
        (lambda record: record["metrics"].update(test_accuracy="good"), r"metrics\[.*\]: expected `float \| null`"),
        (lambda record: record.pop("ok"), r"missing required field `ok`"),
        (lambda record: record.update(schema="millrace.training/7"), r"has the schema 'millrace.training/7' where"),
    ],
)
def test_an_attempt_of_another_shape_is_one_error_that_names_file_and_field(change: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=rf"attempt-1\.json.*({says})"):
        all_attempts(changed(tmp_path, change))


def test_an_attempt_of_an_earlier_version_lacks_what_came_later_and_is_read(tmp_path: Path) -> None:
    def earlier(record: dict[str, Any]) -> None:
        for name in ("processes", "device", "cool_down", "final", "resumed"):
            del record[name]
        del record["comparison"]["metric_difference"]
        del record["background_alone"]["samples_per_s_parts"]

    folder = changed(tmp_path, earlier)
    (record,) = attempts_of(folder, next(folder.iterdir()).name)
    assert (record.ok, record.final, record.device) == (True, False, None)
    assert record.comparison
    assert record.comparison.metric_difference == {}


def test_a_metric_that_was_not_a_finite_number_is_unknown_and_not_damage(tmp_path: Path) -> None:
    (record,) = all_attempts(changed(tmp_path, lambda record: record["epochs"][0]["metrics"].update(test_loss=None)))
    assert record.epochs
    assert record.epochs[0].metrics["test_loss"] is None
    assert known(record.background_alone) is not None


def test_an_event_that_patterns_found_has_the_fields_it_had() -> None:
    events = [
        TrainingEvent(event="ready", t=1.5),
        TrainingEvent(event="epoch", t=2.5, n=1, metrics={}),
        TrainingEvent(event="metrics", t=2.5, metrics={"loss": 0.5}),
        TrainingEvent(event="end", t=3.5, ok=True),
    ]
    assert [json.dumps(msgspec.to_builtins(event)) for event in events] == [
        '{"event": "ready", "t": 1.5}',
        '{"event": "epoch", "t": 2.5, "n": 1, "metrics": {}}',
        '{"event": "metrics", "t": 2.5, "metrics": {"loss": 0.5}}',
        '{"event": "end", "t": 3.5, "ok": true}',
    ]


def test_the_progress_in_a_checkpoint_has_the_fields_it_had() -> None:
    assert msgspec.to_builtins(TrainingProgress()) == {"epoch": 0, "batches": 0, "loss_sum": 0.0, "seen": 0}
