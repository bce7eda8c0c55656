"""Millrace's own: a `TrainingRecord` in each line, with every right answer by slot."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from millrace.records.improve import TrainingRecord
from millrace.run.journal import write_jsonl

FILE = "records.jsonl"


def write(records: Iterable[TrainingRecord], images: Path, path: Path) -> None:
    """See `Plugin.write`."""
    del images
    write_jsonl(path, records)
