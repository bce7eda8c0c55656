"""A flow of shards without work: what is left is what running a shard costs. Deployed and triggered by bench_operate.py."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from msgspec import UNSET, UnsetType

from millrace.config import Settings
from millrace.orchestration.flow import flow
from millrace.records.summaries import StageSummary
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


class Used(StageSummary, frozen=True, kw_only=True):
    """When the shards were mapped (seconds since the epoch), and what this process used."""

    SCHEMA: ClassVar[str] = "benchmarks.used/1"

    mapping_at: float
    done_at: float
    begun_at: float
    cpu_s: float
    peak_bytes: int
    resident_bytes: list[int]
    seconds: float | UnsetType = UNSET
    work_seconds: float | UnsetType = UNSET


@dataclass(frozen=True)
class Shards(Stage):
    """Maps the shards the way every stage of Millrace does and says what this process used."""

    config: OperateConfig
    name = "shards"

    @property
    def section(self) -> str:
        return "operate"

    summary_type = Used

    def run(self, run: RunContext, folder: Path) -> Used:
        begun, before, sizes = time.time(), _cpu_s(), [_resident_bytes()]
        with run.progress.stage("shards", self.config.shards, "shards") as bar:

            def count(_: Any) -> None:
                bar.advance()
                if bar.done * 10 % self.config.shards == 0:
                    sizes.append(_resident_bytes())

            run.map(shard, list(range(self.config.shards)), Same(folder), on_done=count)
        cpu_s, peak = _cpu_s() - before, _peak_bytes()
        return Used(mapping_at=begun, done_at=time.time(), begun_at=begun, cpu_s=cpu_s, peak_bytes=peak, resident_bytes=sizes)


@flow(OperateConfig, lambda config: [Shards(config)])
def operate(run: RunContext, config: OperateConfig) -> StageSummary:
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


if __name__ == "__main__":
    operate.main()
