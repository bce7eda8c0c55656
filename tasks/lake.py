"""The lake as Prefect tasks: the same names as the functions they wrap, and nothing more than the wrapping."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from millrace.digits import lake_build as build
from millrace.digits.lake_build import LakePlan
from millrace.orchestration.shard_task import timed


@task(task_run_name="draw lake shard {number}", cache_policy=NO_CACHE)
@timed
def build_shard(plan: LakePlan, number: int) -> Path:
    """See `millrace.digits.lake_build.build_shard`."""
    return build.build_shard(plan, number)
