"""A synthesis run without Prefect's help: plan, finish, summarise. The flow joins these; tests and benchmarks call them alike."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from millrace.errors import RunFailed, ShortOfTarget
from millrace.records.synthesis_counts import Statistics
from millrace.run.journal import write_json
from millrace.synthesis.runs.assemble import assemble
from millrace.synthesis.runs.card import write_card, write_parquet
from millrace.synthesis.runs.shard_plan import Plan, plan_shards
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.work_shard import synthesise_shard

log = logging.getLogger("millrace.synthesis")

MAX_ROUNDS = 200
"""Shards are handed out again after a worker died, as long as each round gets something done."""


def run_serially(config: SynthesisConfig, folder: Path, launch: str = "serial") -> Statistics:
    """All of a run in this process, without Prefect: the same files; a seed that ends its process ends the run.

    Args:
        config: the run's settings.
        folder: of the run.
        launch: tries of a seed are counted within it, as within one launch of the flow: who is killed from outside gives another.
    """
    plan = plan_shards(config, folder)
    with assembled_when_short(lambda: finish_run(config, plan, folder)):
        for shard in plan.shards:
            synthesise_shard(config, shard, plan.result_of(shard), launch)
    return finish_run(config, plan, folder)


@contextlib.contextmanager
def assembled_when_short(assemble_now: Callable[[], object]) -> Iterator[None]:
    """When the block ends short of its target (the budget is spent), put together what there is before saying so.

    The run is not finished by that: with a larger budget the same command goes on where it stopped.
    """
    try:
        yield
    except ShortOfTarget:
        assemble_now()
        raise


def finish_run(config: SynthesisConfig, plan: Plan, folder: Path) -> Statistics:
    """Assemble the shards, write statistics, card and tables; returns the statistics.

    Raises:
        RunFailed: a larger share of the seeds failed than `max_failure_rate`.
    """
    statistics = assemble(config, plan, folder)
    write_json(folder / "statistics.json", statistics)
    write_card(config, statistics, folder)
    write_parquet(folder)
    unmatched = statistics.unmatched_seeds
    if unmatched.seeds:
        log.warning(
            "%d of %d seeds say nothing that the environment %s knows; a start was chosen for them by hash: %s",
            unmatched.seeds,
            statistics.seeds.different,
            config.environment_mode,
            "; ".join(unmatched.examples),
        )
    failed, seeds = statistics.seeds.failed, statistics.seeds.different
    if seeds and failed / seeds > config.max_failure_rate:
        reasons = ", ".join(f"{reason} {count}" for reason, count in statistics.failures.items())
        raise RunFailed(
            f"{failed} of {seeds} seeds failed ({reasons}), more than max_failure_rate {config.max_failure_rate}; "
            f"see {folder / 'failures.jsonl'}"
        )
    if seeds and not statistics.items.total:
        raise RunFailed(
            f"no question came of {seeds} seeds ({_why(statistics)}); see {folder / 'rejected.jsonl'} and trees.jsonl"
        )
    return statistics


def _why(statistics: Statistics) -> str:
    reasons = {**statistics.failures, **statistics.rejected}
    return ", ".join(f"{reason} {count}" for reason, count in reasons.items()) or "no path was long enough and ended in an answer"
