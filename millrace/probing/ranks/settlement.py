"""From units to outcomes: cut the work exactly where the run stops, and count.

The outcome of a run is the outcomes of its units in their order up to the stop; in the last unit up to the very claim that
reached the target. So `probing/shard-*.jsonl` are the same for any number of ranks, whatever those probed beyond the stop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import UNSET

from millrace.errors import RunFailed
from millrace.probing.agreement import Agreement
from millrace.probing.ranks.handout import Stop, find_stop
from millrace.probing.ranks.units import UnitPlan, plan_of
from millrace.probing.settings import ProbingConfig
from millrace.records.outcome import FAILURES, OUTCOMES, PROBED_CLAIM, DroppedClaim, ProbedClaim, count_failures, is_failure
from millrace.records.summaries import ProbingSummary
from millrace.run.journal import Journal, read_records, write_jsonl

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


def settle_outcomes(config: ProbingConfig, lake: Path, stage: Path) -> ProbingSummary:
    """`settle` for a finished probing in the folder `stage`."""
    target, max_empty = config.target_failure_count, config.max_empty_batches
    return settle(plan_of(config, lake), stage / "work", stage, target=target, max_empty=max_empty)


def settle(plan: UnitPlan, work: Path, stage: Path, *, target: int | None, max_empty: int | None) -> ProbingSummary:
    """Write the stage's shards from the finished units; returns the stage's summary.

    Raises:
        RunFailed: a unit before the stop is missing: the ranks ended early without saying so.
    """
    stop = _stop(plan, work, target, max_empty)
    tally = Tally()
    shards = 0
    batch: list[ProbedClaim] = []
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
    return summary_of(tally, stop=stop.reason, shards=shards)


def summary_of(tally: Tally, *, stop: str, shards: int) -> ProbingSummary:
    """What was counted, as the stage's summary.

    Args:
        tally: over all lines of all shards.
        stop: why probing stopped.
        shards: files.
    """
    failures = sum(tally.outcomes[name] for name in FAILURES)
    return ProbingSummary(
        stop=stop,
        images=tally.images,
        came_in=tally.lines,
        went_out=sum(tally.outcomes.values()),
        failures=failures,
        dropped=dict(sorted(tally.dropped.items())),
        outcomes={name: tally.outcomes[name] for name in OUTCOMES},
        claims={name: dict(counts) for name, counts in sorted(tally.claims.items())},
        factors={name: dict(counts) for name, counts in sorted(tally.factors.items())},
        shards=shards,
        judges=tally.agreement.summary() or UNSET,
    )


def _stop(plan: UnitPlan, work: Path, target: int | None, max_empty: int | None) -> Stop:
    failures: list[int] = []
    while True:
        stop = find_stop(failures, target=target, max_empty=max_empty, complete=plan[len(failures)] is None)
        if stop is not None:
            return stop
        path = unit_path(work, len(failures))
        if not path.exists():
            raise RunFailed(f"{path} is missing: the ranks ended before their work was done; run the same command again")
        failures.append(count_failures(read_records(path, PROBED_CLAIM)))


def _outcomes(plan: UnitPlan, work: Path, stop: Stop, target: int | None, tally: Tally) -> Iterator[ProbedClaim]:
    """The lines up to the stop, counted into `tally` as they pass."""
    reached = 0
    images: set[str] = set()
    for index in range(stop.last + 1):
        for record in read_records(unit_path(work, index), PROBED_CLAIM):
            images.add(record.image.image_id)
            count_outcome(record, tally)
            yield record
            reached += is_failure(record)
            if target is not None and reached == target:
                tally.images += len(images)
                return
        tally.images += len(images)
        images.clear()


def count_outcome(record: ProbedClaim, tally: Tally) -> None:
    """Count one line."""
    if isinstance(record, DroppedClaim):
        tally.lines += record.claims  # a line for a whole image stands for all its claims
        tally.dropped[record.reason] += record.claims
        return
    tally.lines += 1
    outcome = record.outcome.value
    tally.outcomes[outcome] += 1
    tally.claims.setdefault(record.claim_id, Counter())[outcome] += 1
    if record.judge is not None:
        tally.agreement.add(record.judge.votes or {})
        tally.agreement.add_missing(record.judge.missing or {})
    for factor in record.factors or ("none",):
        tally.factors.setdefault(factor, Counter())[outcome] += 1


def open_unit(work: Path, index: int) -> Journal:
    """The journal of unit `index`."""
    return Journal(unit_path(work, index))
