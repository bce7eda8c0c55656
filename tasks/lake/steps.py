"""Drawing the embedded lake as Prefect tasks: one per shard."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from tasks.lake import build
from tasks.timeline import timed


@task(task_run_name="draw {shard}")
@timed
def build_shard(shard: int, settings: build.EmbeddedLake, folder: Path) -> int:
    """See `tasks.lake.build.build_lake`; returns how many images the shard has."""
    build.build_lake(folder, **settings.model_dump(), shard=shard)
    return min(settings.rows_per_shard, settings.images - shard * settings.rows_per_shard)
