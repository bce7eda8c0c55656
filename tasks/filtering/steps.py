"""The filtering as Prefect tasks: one per part that is scanned, one per shard that is written."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.filtering import scan, shards
from tasks.filtering.records import Part
from tasks.filtering.routing import Routes
from tasks.filtering.selection import ShardPlan
from tasks.timeline import timed


@task(task_run_name="scan {part.name}", cache_policy=NO_CACHE)
@timed
def scan_part(part: Part, seed: int, quarantine: Path | None = None) -> scan.Scan:
    """See `tasks.filtering.scan.scan_part`."""
    return scan.scan_part(part, seed=seed, quarantine=quarantine)


@task(task_run_name="filter {plan.name}", cache_policy=NO_CACHE)
@timed
def write_shard(plan: ShardPlan, out: Path, routes: Routes, lake: Path | None = None) -> shards.ShardReport:
    """See `tasks.filtering.shards.write_shard`; `lake` embeds the images of that folder."""
    return shards.write_shard(plan, out, routes, fetch_image=None if lake is None else shards.images_of(lake))
