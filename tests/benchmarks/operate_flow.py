"""A flow of shards without work: what is left is what running a shard costs. Deployed and triggered by bench_operate.py."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

from prefect import flow, task, unmapped
from prefect.cache_policies import NO_CACHE

from millrace.config import Settings
from millrace.orchestration.clusters.cluster import ClusterSettings
from millrace.orchestration.session import open_session
from millrace.orchestration.shard_task import timed
from millrace.run.journal import write_json


class OperateConfig(Settings):
    """How many shards, where."""

    shards: int = 100
    """Shards without work."""
    cluster: ClusterSettings = ClusterSettings()
    """Where they go."""


@task(task_run_name="shard {number}", cache_policy=NO_CACHE)
@timed
def shard(number: int, marks: Path) -> int:
    """No work; the first leaves the time at which it began."""
    if number == 0:
        write_json(marks / "first.json", time.time())
    return number


@flow(name="operate", flow_run_name="operate in {run_dir}")
def operate(config: OperateConfig, run_dir: Path) -> dict[str, Any]:
    """Map the shards the way every flow of Millrace does and write down what this process used."""
    begun = time.time()
    sizes = [_resident_bytes()]
    with open_session("operate", {"operate": config}, run_dir, config.cluster) as run:

        def work(folder: Path) -> dict[str, Any]:
            with run.progress.stage("shards", config.shards, "shards") as stage:

                def count(_: Any) -> None:
                    stage.advance()
                    if stage.done * 10 % config.shards == 0:
                        sizes.append(_resident_bytes())

                mapping = time.time()
                futures = shard.map(list(range(config.shards)), unmapped(folder))
                mapped = time.time()
                run.gather("shards", futures, count)
            return {"mapping_at": mapping, "mapped_at": mapped, "done_at": time.time()}

        before = _cpu_s()
        summary = run.stage("shards", work)
        used = _cpu_s() - before
        summary |= {"begun_at": begun, "cpu_s": used, "peak_bytes": _peak_bytes(), "resident_bytes": sizes}
        write_json(run.folder.path / "summary.json", summary)
        run.folder.finish("operate", "finished")
    return {"status": "finished"}


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
