"""The embedded world's work as Prefect tasks: how each is named in the UI."""

from __future__ import annotations

from millrace.digits import lake_build
from millrace.orchestration.prefect_tasks import shard_task

build_shard = shard_task(lake_build.build_shard, "draw lake shard {number}")
