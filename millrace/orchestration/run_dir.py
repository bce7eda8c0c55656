"""The run folder as a parameter: `{date}` in it stands for the day, so that a schedule's runs have folders of their own."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

DATE = "{date}"


def dated(path: Path) -> Path:
    """`path` with `{date}` as the day for which the run was scheduled, or today's (UTC) for a run that was not scheduled.

    A run that is repeated or resumed by Prefect keeps its day, and so its folder.
    """
    return Path(str(path).replace(DATE, _day().isoformat())) if DATE in str(path) else path


def _day() -> date:
    if os.environ.get("PREFECT__FLOW_RUN_ID"):  # set by the worker that started this process
        from prefect.runtime import flow_run

        scheduled = flow_run.scheduled_start_time
        if scheduled is not None:
            day: date = scheduled.astimezone(UTC).date()
            return day
    return datetime.now(UTC).date()


RunDir = Annotated[Path, AfterValidator(dated)]
"""A flow's parameter `run_dir`."""
