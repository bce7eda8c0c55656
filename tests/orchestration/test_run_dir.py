"""A run folder's `{date}` is a day, for the command line and for a flow's parameter alike."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from millrace.orchestration.run_dir import RunDir, dated


def test_a_path_without_a_date_stays_as_it_is() -> None:
    assert dated(Path("runs/{name}")) == Path("runs/{name}")


def test_the_date_is_the_day_in_utc_where_nothing_was_scheduled(monkeypatch) -> None:
    monkeypatch.delenv("PREFECT__FLOW_RUN_ID", raising=False)
    before = datetime.now(UTC).date()
    path = TypeAdapter(RunDir).validate_python("runs/full-{date}")
    assert path in {Path(f"runs/full-{day}") for day in (before, datetime.now(UTC).date())}
