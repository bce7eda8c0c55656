"""Probing as Prefect tasks: the same names as the functions they wrap, and nothing more than the wrapping."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from millrace.orchestration.clusters.hosts import Cluster
from millrace.orchestration.shard_task import timed
from millrace.probing import ask, preparation
from millrace.probing.ranks import launch
from millrace.probing.ranks import settlement as settling
from millrace.probing.ranks.launch import Counts
from millrace.probing.ranks.worker import device_of, plan_of
from millrace.probing.settings import ProbingConfig


@task(task_run_name="prepare the baseline", cache_policy=NO_CACHE)
def prepare_baseline(config: ProbingConfig, logs: Path, on_progress: Callable[[int, int], None]) -> bool:
    """See `millrace.probing.preparation.prepare_baseline`."""
    return preparation.prepare_baseline(config.baseline, logs, on_progress)


@task(task_run_name="probe with {config.torchrun.nnodes} × {config.torchrun.nproc_per_node} ranks", cache_policy=NO_CACHE)
def run_ranks(
    config: ProbingConfig, lake: Path, stage: Path, logs: Path, on_progress: Callable[[Counts], None], cluster: Cluster
) -> None:
    """See `millrace.probing.ranks.launch.run_ranks`."""
    launch.run_ranks(config, lake, stage, logs, on_progress, cluster)


@task(task_run_name="settle the outcomes", cache_policy=NO_CACHE)
def settle(config: ProbingConfig, lake: Path, stage: Path) -> dict[str, Any]:
    """See `millrace.probing.ranks.settlement.settle`."""
    plan = plan_of(config, lake)
    target, max_empty = config.target_failure_count, config.max_empty_batches
    return settling.settle(plan, stage / "work", stage, target=target, max_empty=max_empty)


@task(task_run_name="ask {questions.stem}", cache_policy=NO_CACHE)
@timed
def ask_shard(questions: Path, out: Path, lake: Path, baseline: dict[str, Any], device: str) -> int:
    """See `millrace.probing.ask.ask_shard`."""
    return ask.ask_shard(questions, out, lake, baseline, device_of(device, 0))
