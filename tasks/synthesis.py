"""Synthesis as Prefect tasks: the same names as the functions they wrap, and nothing more than the wrapping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from millrace.orchestration.shard_task import timed
from millrace.synthesis import work_shard
from millrace.synthesis.runs import shard_plan, synthesis_run
from millrace.synthesis.runs.shard_plan import Plan
from millrace.synthesis.settings import SynthesisConfig


@task(task_run_name="plan the shards", cache_policy=NO_CACHE)
def plan_shards(config: SynthesisConfig, folder: Path) -> Plan:
    """See `millrace.synthesis.runs.shard_plan.plan_shards`."""
    return shard_plan.plan_shards(config, folder)


@task(task_run_name="synthesise {plan.stem}", cache_policy=NO_CACHE)
@timed
def synthesise_shard(config: SynthesisConfig, plan: Path, path: Path, launch: str) -> dict[str, int]:
    """See `millrace.synthesis.work_shard.synthesise_shard`."""
    return work_shard.synthesise_shard(config, plan, path, launch)


@task(task_run_name="assemble the dataset", cache_policy=NO_CACHE)
def finish_run(config: SynthesisConfig, plan: Plan, folder: Path) -> dict[str, Any]:
    """See `millrace.synthesis.runs.synthesis_run.finish_run`."""
    return synthesis_run.finish_run(config, plan, folder)
