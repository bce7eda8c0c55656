"""What shards have come to so far: one small file per shard, renewed while it is worked on, kept when it is done.

Progress, the live artifact and the report add these files up, so none of them reads a journal, and a run that is taken up again
starts from what is there. A tally may lag behind its journal by `EVERY_S`; it never runs ahead, and it is complete before its
shard counts as finished.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from millrace.run.journal import read_json, write_json

EVERY_S = 1.0
"""How old a tally may get; writing one costs two syncs of a small file."""

FOLDER = "tallies"


class Tally:
    """One shard's counts. `path` None counts without keeping."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.counts: dict[str, Any] = {
            "seeds": 0,
            "items": 0,
            "rejected": 0,
            "failures": 0,
            "llm_calls": 0,
            "usd": 0.0,
            "seconds": 0.0,
            "statuses": {},
            "reasons": {},
            "failed": {},
            "spans": {},
        }
        self._written = time.monotonic()

    def add(self, record: Mapping[str, Any]) -> None:
        """Count a seed's journal record."""
        counts = self.counts
        spent = record.get("spent") or {}
        counts["seeds"] += 1
        counts["items"] += len(record["items"])
        counts["rejected"] += len(record["rejected"])
        counts["llm_calls"] += spent.get("llm_calls", 0)
        counts["usd"] += spent.get("usd", 0.0)
        counts["seconds"] += record.get("seconds", 0.0)
        for item in record["items"]:
            _more(counts["statuses"], item["verification"]["status"])
        for item in record["rejected"]:
            _more(counts["reasons"], item["reason"])
        if record["failure"] is not None:
            counts["failures"] += 1
            _more(counts["failed"], record["failure"]["reason"])
        for name, seconds in record.get("spans", {}).items():
            _more(counts["spans"], name, seconds)

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


def sum_of(counts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The counts of several shards added up."""
    total = Tally().counts
    for one in counts:
        for name, value in one.items():
            if isinstance(value, Mapping):
                for key, number in value.items():
                    _more(total[name], key, number)
            else:
                total[name] += value
    return total


class Tallies:
    """All tallies of a run, read again only where a file has changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, tuple[int, dict[str, Any]]] = {}

    def read(self) -> dict[str, Any]:
        """The sum over all shards as of now."""
        for path in self.folder.glob("*.json"):
            try:
                changed = path.stat().st_mtime_ns
                if self._known.get(path.name, (0, {}))[0] != changed:
                    self._known[path.name] = (changed, read_json(path))
            except FileNotFoundError:
                continue
        return sum_of(counts for _, counts in self._known.values())


def _more(counts: dict[str, Any], name: str, by: float = 1) -> None:
    counts[name] = counts.get(name, 0) + by
