"""Cuts the seeds into shards, and remembers which seed is where.

A plan file holds the seeds of one shard and never changes once it is there. A run that is taken up with other seeds (reordered,
inserted, removed) plans only those that no shard holds yet: nothing that is done is done again.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from millrace.records.synthesis import SeedOutcome
from millrace.records.trajectories import Seed
from millrace.run.journal import PART, read_records, write_jsonl
from millrace.synthesis.seeds import read_seeds
from millrace.synthesis.settings import SynthesisConfig

SMALLEST, LARGEST = 8, 2_000
"""Bounds of an automatic shard: fewer seeds are not worth a Prefect task of 0.15 s, more take too long to be seen to move."""

SHARDS_PER_WORKER = 4
"""So that one slow shard does not leave the other workers idle for long."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to do."""

    shards: list[Path]
    """All plan files, old and new, in order."""
    lines: int
    """Seeds in the file, repeats included."""
    seeds: int
    """Different seeds."""
    ledger: Path
    """SQLite: the present seeds and their place in the file."""

    def result_of(self, shard: Path) -> Path:
        """Where a shard's journal is."""
        return shard.parent.parent / "shards" / shard.name

    def bytes_done(self) -> int:
        """A number that grows whenever a shard, finished or not, has one more record or one more try."""
        folder = self.ledger.parent / "shards"
        return sum(path.stat().st_size for path in folder.glob("*") if path.is_file()) if folder.exists() else 0


def plan_shards(config: SynthesisConfig, folder: Path) -> Plan:
    """Bring the plan in `folder` up to date with the seeds.

    Raises:
        InputError: the seeds cannot be read.
    """
    plans = folder / "plan"
    plans.mkdir(parents=True, exist_ok=True)
    ledger = folder / "ledger.sqlite"
    ledger.unlink(missing_ok=True)
    with sqlite3.connect(ledger, isolation_level=None) as db:
        db.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "CREATE TABLE present (id TEXT PRIMARY KEY, place INTEGER) WITHOUT ROWID;"
            "CREATE TABLE planned (id TEXT PRIMARY KEY) WITHOUT ROWID; BEGIN"
        )
        old = sorted(plans.glob("shard-*.jsonl"))
        for path in old:
            db.executemany("INSERT OR IGNORE INTO planned VALUES (?)", ((seed.source_id,) for seed in read_records(path, Seed)))
        lines = 0
        for seed in _seeds(config):
            db.execute("INSERT OR IGNORE INTO present VALUES (?, ?)", (seed.source_id, lines))
            lines += 1
        seeds = db.execute("SELECT COUNT(*) FROM present").fetchone()[0]
        missing = db.execute("SELECT COUNT(*) FROM present WHERE id NOT IN (SELECT id FROM planned)").fetchone()[0]
        size = config.seeds_per_shard or min(LARGEST, max(SMALLEST, -(-missing // (SHARDS_PER_WORKER * config.workers))))
        new = []
        unplanned = _new_seeds(config, db) if missing else iter(())  # a run taken up again reads its seeds once
        for number, group in enumerate(_groups(unplanned, size), len(old)):
            path = plans / f"shard-{number:05}.jsonl"
            write_jsonl(path, group)
            new.append(path)
        db.execute("COMMIT")
    db.close()
    return Plan([*old, *new], lines, seeds, ledger)


def check_readable(folder: Path) -> None:
    """See that the first item that shards in `folder` hold, finished or not, was written by this version.

    Raises:
        RunFailed: another version wrote it; the message names its schema.
    """
    shards = folder / "shards"
    for shard in sorted([*shards.glob("shard-*.jsonl"), *shards.glob(f"shard-*.jsonl{PART}")]):
        if any(record.items for record in read_records(shard, SeedOutcome)):
            return


def seeds_digest(config: SynthesisConfig) -> str:
    """A hash of the seeds' file: it tells a finished run whether there is something new."""
    digest = hashlib.sha256()
    with config.seeds_path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()[:16]


def _seeds(config: SynthesisConfig) -> Iterator[Seed]:
    return read_seeds(config.seeds_path, max_chars=config.max_seed_chars, limit=config.number_of_seed)


def _new_seeds(config: SynthesisConfig, db: sqlite3.Connection) -> Iterator[Seed]:
    for seed in _seeds(config):
        if db.execute("INSERT OR IGNORE INTO planned VALUES (?)", (seed.source_id,)).rowcount:
            yield seed


def _groups(seeds: Iterator[Seed], size: int) -> Iterator[list[Seed]]:
    group: list[Seed] = []
    for seed in seeds:
        group.append(seed)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
