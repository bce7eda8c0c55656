"""From units to outcomes: cut the work exactly where the run stops, and count.

The outcome of a run is the outcomes of its units in their order up to the stop; in the last unit up to the very claim that
reached the target. So `probing/shard-*.jsonl` are the same for any number of ranks, whatever those probed beyond the stop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from millrace.errors import RunFailed
from millrace.probing.agreement import Agreement
from millrace.probing.ranks.handout import Stop, find_stop
from millrace.probing.ranks.units import UnitPlan, plan_of
from millrace.probing.settings import ProbingConfig
from millrace.records.outcome import FAILURES, OUTCOMES
from millrace.run.journal import Journal, read_jsonl, write_jsonl

RECORDS_PER_SHARD = 1000
"""Lines in an outcome shard: about a megabyte, and for the stages behind it a minute of work."""


class Tally(msgspec.Struct):
    """What is counted while the shards are written."""

    images: int = 0
    lines: int = 0
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    dropped: Counter[str] = msgspec.field(default_factory=Counter)
    claims: dict[str, Counter[str]] = msgspec.field(default_factory=dict)
    factors: dict[str, Counter[str]] = msgspec.field(default_factory=dict)
    agreement: Agreement = msgspec.field(default_factory=Agreement)


def unit_path(work: Path, index: int) -> Path:
    """Where the journal of unit `index` goes."""
    return work / f"unit-{index:06d}.jsonl"


def count_failures(records: Iterator[dict[str, Any]] | Sequence[dict[str, Any]]) -> int:
    """How many of a unit's lines are failures of the model."""
    return sum(record.get("outcome") in FAILURES for record in records)


def settle_outcomes(config: ProbingConfig, lake: Path, stage: Path) -> dict[str, Any]:
    """`settle` for a finished probing in the folder `stage`."""
    target, max_empty = config.target_failure_count, config.max_empty_batches
    return settle(plan_of(config, lake), stage / "work", stage, target=target, max_empty=max_empty)


def settle(plan: UnitPlan, work: Path, stage: Path, *, target: int | None, max_empty: int | None) -> dict[str, Any]:
    """Write the stage's shards from the finished units; returns the stage's summary.

    Raises:
        RunFailed: a unit before the stop is missing: the ranks ended early without saying so.
    """
    stop = _stop(plan, work, target, max_empty)
    tally = Tally()
    shards = 0
    batch: list[dict[str, Any]] = []
    for record in _outcomes(plan, work, stop, target, tally):
        batch.append(record)
        if len(batch) == RECORDS_PER_SHARD:
            write_jsonl(stage / f"shard-{shards:05d}.jsonl", batch)
            shards += 1
            batch = []
    if batch or not shards:
        write_jsonl(stage / f"shard-{shards:05d}.jsonl", batch)
        shards += 1
    for stale in stage.glob("shard-*.jsonl"):
        if int(stale.stem.removeprefix("shard-")) >= shards:
            stale.unlink()
    failures = sum(tally.outcomes[name] for name in FAILURES)
    judges = tally.agreement.summary()
    return {
        "stop": stop.reason,
        "images": tally.images,
        "in": tally.lines,
        "out": sum(tally.outcomes.values()),
        "failures": failures,
        "dropped": dict(sorted(tally.dropped.items())),
        "outcomes": {name: tally.outcomes[name] for name in OUTCOMES},
        "claims": {name: dict(counts) for name, counts in sorted(tally.claims.items())},
        "factors": {name: dict(counts) for name, counts in sorted(tally.factors.items())},
        "shards": shards,
        **({"judges": judges} if judges else {}),
    }


def _stop(plan: UnitPlan, work: Path, target: int | None, max_empty: int | None) -> Stop:
    failures: list[int] = []
    while True:
        stop = find_stop(failures, target=target, max_empty=max_empty, complete=plan[len(failures)] is None)
        if stop is not None:
            return stop
        path = unit_path(work, len(failures))
        if not path.exists():
            raise RunFailed(f"{path} is missing: the ranks ended before their work was done; run the same command again")
        failures.append(count_failures(read_jsonl(path)))


def _outcomes(plan: UnitPlan, work: Path, stop: Stop, target: int | None, tally: Tally) -> Iterator[dict[str, Any]]:
    """The lines up to the stop, counted into `tally` as they pass."""
    reached = 0
    images: set[str] = set()
    for index in range(stop.last + 1):
        for record in read_jsonl(unit_path(work, index)):
            images.add(record["image"]["image_id"])
            _count(record, tally)
            yield record
            reached += record.get("outcome") in FAILURES
            if target is not None and reached == target:
                tally.images += len(images)
                return
        tally.images += len(images)
        images.clear()


def _count(record: dict[str, Any], tally: Tally) -> None:
    claims = record.get("claims", 1)  # a line for a whole image stands for all its claims
    tally.lines += claims
    if record["kind"] == "dropped":
        tally.dropped[record["reason"]] += claims
        return
    outcome = record["outcome"]
    tally.outcomes[outcome] += 1
    tally.claims.setdefault(record["claim_id"], Counter())[outcome] += 1
    judge = record["judge"] or {}
    tally.agreement.add(judge.get("votes") or {})
    tally.agreement.add_missing(judge.get("missing") or {})
    for factor in record["factors"] or ["none"]:
        tally.factors.setdefault(factor, Counter())[outcome] += 1


def finished_units(work: Path) -> int:
    """How many units are finished."""
    return sum(1 for _ in work.glob("unit-*.jsonl"))


def open_unit(work: Path, index: int) -> Journal:
    """The journal of unit `index`."""
    return Journal(unit_path(work, index))
