"""The filtering as Prefect tasks: one per part that is scanned, one per shard that is written."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from millrace.filtering import scan
from millrace.filtering import selection_shards as shards
from millrace.filtering.outcome_files import Part
from millrace.filtering.routing import Routes
from millrace.filtering.selection import ShardPlan
from millrace.orchestration.shard_task import timed


@task(task_run_name="scan {part.name}", cache_policy=NO_CACHE)
@timed
def scan_part(part: Part, seed: int, quarantine: Path | None = None) -> scan.Scan:
    """See `millrace.filtering.scan.scan_part`."""
    return scan.scan_part(part, seed=seed, quarantine=quarantine)


@task(task_run_name="filter {plan.name}", cache_policy=NO_CACHE)
@timed
def write_shard(plan: ShardPlan, out: Path, routes: Routes, lake: Path | None = None) -> shards.ShardReport:
    """See `millrace.filtering.selection_shards.write_shard`; `lake` embeds the images of that folder."""
    return shards.write_shard(plan, out, routes, fetch_image=None if lake is None else shards.images_of(lake))
