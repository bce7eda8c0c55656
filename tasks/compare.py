"""Comparing as a Prefect task: how it is named in the UI."""

from __future__ import annotations

from millrace.compare import work
from millrace.orchestration.prefect_tasks import step_task

compare_sides = step_task(work.compare_sides, "compare the outcomes")
