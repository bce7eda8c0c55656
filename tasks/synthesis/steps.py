"""Synthesis as Prefect tasks: the same names as the functions they wrap, and nothing more than the wrapping."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from tasks.synthesis import plan as planning
from tasks.synthesis import run, shard
from tasks.synthesis.config import SynthesisConfig
from tasks.synthesis.plan import Plan
from tasks.timeline import timed


@task(task_run_name="plan the shards", cache_policy=NO_CACHE)
def plan_shards(config: SynthesisConfig, folder: Path) -> Plan:
    """See `tasks.synthesis.plan.plan_shards`."""
    return planning.plan_shards(config, folder)


@task(task_run_name="synthesise {plan.stem}", cache_policy=NO_CACHE)
@timed
def synthesise_shard(config: SynthesisConfig, plan: Path, path: Path, launch: str) -> dict[str, int]:
    """See `tasks.synthesis.shard.synthesise_shard`."""
    return shard.synthesise_shard(config, plan, path, launch)


@task(task_run_name="assemble the dataset", cache_policy=NO_CACHE)
def finish_run(config: SynthesisConfig, plan: Plan, folder: Path) -> dict[str, Any]:
    """See `tasks.synthesis.run.finish_run`."""
    return run.finish_run(config, plan, folder)


def progress_of(plan: Plan) -> int:
    """A number that grows whenever a shard, finished or not, has one more record or one more try."""
    folder = plan.ledger.parent / "shards"
    return sum(path.stat().st_size for path in folder.glob("*") if path.is_file()) if folder.exists() else 0


class LiveCounts:
    """Accept rate by reason, throughput, cost and time left, as one artifact that is renewed while the run goes on."""

    EVERY_S = 5.0

    def __init__(self, seeds: int) -> None:
        self.seeds = seeds
        self.started = time.monotonic()
        self._shown = 0.0
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def add(self, done: dict[str, Any]) -> None:
        """Take in a finished shard."""
        self._counts.update({name: done[name] for name in ("seeds", "items", "rejected", "failures", "llm_calls")})
        self._reasons.update(done["reasons"])
        if time.monotonic() - self._shown > self.EVERY_S or self._counts["seeds"] >= self.seeds:
            self._shown = time.monotonic()
            with contextlib.suppress(Exception):  # the folder, not the API, is the truth of a run
                done_now: Any = create_markdown_artifact(self.markdown(), key="synthesis-live", description="Synthesis so far")
                del done_now

    def markdown(self) -> str:
        """The artifact's text."""
        counts, took = self._counts, time.monotonic() - self.started
        tried = counts["items"] + counts["rejected"]
        accepted = f"{counts['items'] / tried:.0%}" if tried else "unknown"
        rate = counts["seeds"] / took if took else 0.0
        left = f"{(self.seeds - counts['seeds']) / rate:.0f} s (estimate)" if rate else "unknown"
        reasons = "".join(f"| rejected: {reason} | {count} |\n" for reason, count in self._reasons.most_common())
        return (
            f"| | |\n|---|---|\n| seeds done | {counts['seeds']} of {self.seeds} |\n| verified so far | {counts['items']} |\n"
            f"| accepted | {accepted} |\n{reasons}| seeds that failed | {counts['failures']} |\n"
            f"| seeds per second | {rate:.2f} |\n| model calls | {counts['llm_calls']} |\n| left | {left} |\n"
        )
