"""Training's steps as Prefect tasks. One experiment run is one task run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from millrace.training.campaign import Campaign
from millrace.training.experiments import PlannedRun


def run_experiment(campaign: Campaign, run: PlannedRun, said: Callable[[str], None]) -> dict[str, Any]:
    """Train and measure one run. Its attempts and retries are ours: Prefect would repeat what cannot succeed."""
    name = run.title.replace("{", "(").replace("}", ")")
    step: Any = task(name="experiment", task_run_name=name, cache_policy=NO_CACHE)(_run_one)
    record: dict[str, Any] = step(campaign, run, said)
    return record


def _run_one(campaign: Campaign, run: PlannedRun, said: Callable[[str], None]) -> dict[str, Any]:
    return campaign.run_one(run, said)
