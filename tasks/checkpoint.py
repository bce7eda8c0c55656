"""The checkpoint's work as Prefect tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from millrace.checkpoint import compare, convert, verify
from millrace.checkpoint.allowed_classes import classes_named
from millrace.checkpoint.metrics import ReadMetrics
from millrace.checkpoint.settings import CheckpointConfig
from millrace.orchestration.shard_task import timed


@task(task_run_name="verify {part.name}", cache_policy=NO_CACHE)
@timed
def verify_file(part: verify.FilePart, config: CheckpointConfig) -> verify.FileReport:
    """See `millrace.checkpoint.verify.verify_file`."""
    allow = classes_named(config.allow_globals)
    return verify.verify_file(part, config.threads, byte_items=config.byte_items, allow=allow, stall_s=config.stall_s)


@task(cache_policy=NO_CACHE)
def read_checkpoint(path: Path, config: CheckpointConfig, on_progress: Callable[[int, int], None]) -> ReadMetrics:
    """See `millrace.checkpoint.compare.read_checkpoint`."""
    return compare.read_checkpoint(
        path, threads=config.threads, check=config.check, stall_s=config.stall_s, on_progress=on_progress
    )


@task(cache_policy=NO_CACHE)
def convert_checkpoint(path: Path, config: CheckpointConfig, on_progress: Callable[[int, int], None]) -> convert.Conversion:
    """See `millrace.checkpoint.convert.convert_checkpoint`."""
    return convert.convert_checkpoint(
        path,
        config.convert,
        threads=config.threads,
        byte_items=config.byte_items,
        allow=classes_named(config.allow_globals),
        on_progress=on_progress,
    )


@task(cache_policy=NO_CACHE)
def compare_readers(path: Path, config: CheckpointConfig, on_turn: Callable[[], None]) -> list[dict[str, Any]]:
    """See `millrace.checkpoint.compare.compare_readers`."""
    return compare.compare_readers(path, threads=config.threads, repeats=config.repeats, on_turn=on_turn)
