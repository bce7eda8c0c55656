"""A flow of shards without work: what is left is what running a shard costs. Deployed and triggered by bench_operate.py."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace.config import Settings
from millrace.orchestration.flow import flow
from millrace.run.cluster_settings import ClusterSettings
from millrace.run.context import RunContext, Same
from millrace.run.journal import write_json
from millrace.run.stage import Stage


class OperateConfig(Settings):
    """How many shards, where."""

    shards: int = 100
    """Shards without work."""
    cluster: ClusterSettings = ClusterSettings()
    """Where they go."""


def shard(number: int, marks: Path) -> int:
    """No work; the first leaves the time at which it began."""
    if number == 0:
        write_json(marks / "first.json", time.time())
    return number


@dataclass(frozen=True)
class Shards(Stage):
    """Maps the shards the way every stage of Millrace does and says what this process used."""

    config: OperateConfig
    name = "shards"

    @property
    def section(self) -> str:
        return "operate"

    def run(self, run: RunContext, folder: Path) -> dict[str, Any]:
        begun, before, sizes = time.time(), _cpu_s(), [_resident_bytes()]
        with run.progress.stage("shards", self.config.shards, "shards") as bar:

            def count(_: Any) -> None:
                bar.advance()
                if bar.done * 10 % self.config.shards == 0:
                    sizes.append(_resident_bytes())

            run.map(shard, list(range(self.config.shards)), Same(folder), on_done=count)
        used = {"cpu_s": _cpu_s() - before, "peak_bytes": _peak_bytes(), "resident_bytes": sizes}
        return {"mapping_at": begun, "done_at": time.time(), "begun_at": begun, **used}


@flow(OperateConfig, lambda config: [Shards(config)])
def operate(run: RunContext, config: OperateConfig) -> dict[str, Any]:
    """Map the shards and write down what this process used."""
    summary = run.do(Shards(config))
    write_json(run.folder.path / "summary.json", summary)
    return summary


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
