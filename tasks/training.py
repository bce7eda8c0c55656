"""Training's work as Prefect tasks: how each is named in the UI. Attempts and retries of an experiment are our own."""

from __future__ import annotations

from millrace.orchestration.prefect_tasks import step_task
from millrace.training import campaign

run_experiment = step_task(campaign.run_experiment, "{run.short_title}")
