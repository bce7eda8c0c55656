"""What shards have come to so far: one small file per shard, renewed while it is worked on, kept when it is done.

Progress, the live artifact and the report add these files up, so none of them reads a journal, and a run that is taken up again
starts from what is there. A tally may lag behind its journal by `EVERY_S`; it never runs ahead, and it is complete before its
shard counts as finished.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from millrace.records.synthesis import SeedOutcome, Spent
from millrace.records.synthesis_counts import ShardTally
from millrace.records.trajectories import Number
from millrace.run.journal import read_record, write_json

EVERY_S = 1.0
"""How old a tally may get; writing one costs two syncs of a small file."""

FOLDER = "tallies"


class Tally:
    """One shard's counts. `path` None counts without keeping."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.counts = ShardTally()
        self._written = time.monotonic()

    def add(self, record: SeedOutcome) -> None:
        """Count a seed's journal record."""
        spent = record.spent or Spent()
        self.counts = sum_of(
            [
                self.counts,
                ShardTally(
                    seeds=1,
                    items=len(record.items),
                    rejected=len(record.rejected),
                    failures=int(record.failure is not None),
                    llm_calls=spent.llm_calls,
                    usd=spent.usd,
                    seconds=record.seconds or 0.0,
                    statuses=dict(Counter(item.verification.status for item in record.items)),
                    reasons=dict(Counter(rejected.reason for rejected in record.rejected)),
                    failed={} if record.failure is None else {record.failure.reason: 1},
                    spans=dict(record.spans or {}),
                ),
            ]
        )

    def show(self) -> None:
        """Write the file when it is older than `EVERY_S`."""
        if time.monotonic() - self._written >= EVERY_S:
            self.write()

    def write(self) -> None:
        """Write the file now."""
        if self.path is not None:
            write_json(self.path, self.counts)
        self._written = time.monotonic()


class Clock:
    """Where a seed's time goes: seconds by name, from one `lap` to the next."""

    def __init__(self) -> None:
        self.spans: dict[str, float] = {}
        self._since = time.monotonic()

    def lap(self, name: str) -> None:
        """Count what has passed since the last lap under `name`."""
        now = time.monotonic()
        self.spans[name] = round(self.spans.get(name, 0.0) + now - self._since, 6)
        self._since = now


def tally_of(result: Path) -> Path:
    """Where the tally of a shard is, given where its journal is to be."""
    return result.parent.parent / FOLDER / f"{result.stem}.json"


def sum_of(counts: Iterable[ShardTally]) -> ShardTally:
    """The counts of several shards added up."""
    total: dict[str, Number] = {}
    by_name: dict[str, dict[str, Number]] = {}
    for one in counts:
        for field in ShardTally.__struct_fields__:
            value = getattr(one, field)
            if isinstance(value, dict):
                sums = by_name.setdefault(field, {})
                for name, number in value.items():
                    sums[name] = sums.get(name, 0) + number
            else:
                total[field] = total.get(field, 0) + value
    return msgspec.convert({**total, **by_name}, ShardTally)


class Tallies:
    """All tallies of a run, read again only where a file has changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, tuple[int, ShardTally]] = {}

    def read(self) -> ShardTally:
        """The sum over all shards as of now."""
        for path in self.folder.glob("*.json"):
            try:
                changed = path.stat().st_mtime_ns
                if path.name not in self._known or self._known[path.name][0] != changed:
                    self._known[path.name] = (changed, read_record(path, ShardTally))
            except FileNotFoundError:
                continue
        return sum_of(counts for _, counts in self._known.values())
