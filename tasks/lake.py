"""The lake's work as Prefect tasks: how each is named in the UI."""

from __future__ import annotations

from millrace.lake import embedded
from millrace.orchestration.prefect_tasks import shard_task

build_shard = shard_task(embedded.build_shard, "draw lake shard {number}")
