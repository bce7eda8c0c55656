"""Filtering's work as Prefect tasks: how each is named in the UI."""

from __future__ import annotations

from millrace.filtering import scan, selection_shards
from millrace.orchestration.prefect_tasks import shard_task

scan_part = shard_task(scan.scan_part, "scan {part.name}")
write_selection = shard_task(selection_shards.write_selection, "filter {plan.name}")
