"""Puts finished shards together: the checks over the whole run, then the files that people use.

Two passes in the order of the seeds' ids, record by record: the first decides about duplicates and counts answers, the second
writes. Memory holds one record and one byte per item; the rest is on disk. All files appear at the end, each at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec
import orjson
from msgspec import UNSET
from msgspec.structs import asdict, replace

from millrace.plugins.loading import load_plugin
from millrace.records.record import decode, encode
from millrace.records.synthesis import Cost, QAItem, Rejected, SeedOutcome
from millrace.records.synthesis_counts import AnswerCounts, ItemCounts, SeedCounts, Statistics, UnmatchedSeeds
from millrace.records.trajectories import Tree
from millrace.run.journal import PART
from millrace.synthesis.checks import Contamination, Seen, answer_limit, load_earlier
from millrace.synthesis.runs.shard_plan import Plan
from millrace.synthesis.scoring.reward import close_worlds
from millrace.synthesis.settings import EXPORTS, SynthesisConfig

KEEP, DUPLICATE, CONTAMINATED = 0, 1, 2
STATUS_FILES = {"verified": "qa.jsonl", "judged": "judged.jsonl", "unverified": "unverified.jsonl"}
"""How an answer was checked → its file: they never share one."""

EXPORTED = {"verified": "", "judged": "judged/"}
"""What is exported, and into which part of `dataset/`: what is judged never shares a file with what is proven."""

SHOWN_UNMATCHED = 3
"""How many seeds that said nothing usable are named."""

COMMON = 10
"""How many of the most common templates and answers the statistics name."""


def assemble(config: SynthesisConfig, plan: Plan, folder: Path) -> Statistics:
    """Write `qa.jsonl`, `trajectories.jsonl`, `trees.jsonl`, `rejected.jsonl`, `failures.jsonl` and the exports into `folder`.

    Returns:
        The statistics; `files` holds the SHA-256 of each file.
    """
    index = _index(plan)
    seen = Seen(folder / ".seen.sqlite", config.near_duplicate)
    try:
        load_earlier(seen, config.earlier_datasets)
        decisions = _decide(config, index, seen)
        limit = answer_limit(seen.times(), config.max_answer_share)
        seen.forget_answers()
        with _Files(folder) as files:
            counted = _write(config, index, seen, decisions, limit, files)
            files.keep()
        common = {answer: min(times, limit) for answer, times in seen.most_common_answers(COMMON).items()}
        answers = AnswerCounts(different=seen.different_answers(), most_common=common)
    finally:
        seen.close()
        index.close()
        close_worlds()  # that exports asked for their tools
    seeds = SeedCounts(lines=plan.lines, different=plan.seeds, repeats=plan.lines - plan.seeds, failed=counted.failed)
    return counted.statistics(files=files.hashes, answers=answers, seeds=seeds, answer_limit=limit)


def records_in(index: sqlite3.Connection) -> Iterator[tuple[int, SeedOutcome]]:
    """(the seed's line in its file, its record) of all present seeds, in the order of their ids."""
    opened: dict[str, BinaryIO] = {}
    with contextlib.ExitStack() as stack:
        rows = index.execute("SELECT present.place, file, start, size FROM present JOIN done USING (id) ORDER BY id")
        for place, name, start, size in rows:
            if name not in opened:
                if len(opened) > 200:
                    stack.close()
                    opened.clear()
                opened[name] = stack.enter_context(Path(name).open("rb"))
            opened[name].seek(start)
            yield place, decode(opened[name].read(size), SeedOutcome, f"{name}, byte {start}")


def _index(plan: Plan) -> sqlite3.Connection:
    """The ledger, with the place of every finished record."""
    db = sqlite3.connect(plan.ledger, isolation_level=None)
    db.executescript(
        "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; DROP TABLE IF EXISTS done;"
        "CREATE TABLE done (id TEXT PRIMARY KEY, file TEXT, start INTEGER, size INTEGER) WITHOUT ROWID; BEGIN"
    )
    for shard in plan.shards:
        path = plan.result_of(shard)
        if not path.exists():  # a run that ends short has shards that are not done
            path = path.with_name(path.name + PART)
        if not path.exists():
            continue
        with path.open("rb") as file:
            start = 0
            for line in file:
                if not line.endswith(b"\n"):
                    break
                name = orjson.loads(line)["id"]
                db.execute("INSERT OR IGNORE INTO done VALUES (?, ?, ?, ?)", (name, str(path), start, len(line)))
                start += len(line)
    db.execute("COMMIT")
    return db


def _decide(config: SynthesisConfig, index: sqlite3.Connection, seen: Seen) -> bytearray:
    decisions = bytearray()
    contamination = Contamination(config.decontaminate)
    for _, record in records_in(index):
        for item in record.items:
            if contamination.hits(item.question):
                decisions.append(CONTAMINATED)
                continue
            same = seen.duplicate_of(item.qa_id, item.question, item.signature or None)
            decisions.append(KEEP if same is None else DUPLICATE)
            if same is None:
                seen.count_answer(item.answer)
    return decisions


class _Counted:
    """What is counted while the files are written."""

    def __init__(self) -> None:
        self.failed = self.written = 0
        """Seeds; items, kept or not."""
        self.unmatched_seeds = 0
        self.unmatched: list[str] = []
        self.by_name: dict[str, Counter[str]] = {
            name: Counter() for name in ("status", "rejected", "failures", "kinds", "match", "language", "templates")
        }
        self.hops: Counter[int] = Counter()
        self.spent: Counter[str] = Counter()

    def seed(self, record: SeedOutcome, tree: Tree) -> None:
        """Count a seed that did not fail; its cost is the whole seed's, kept questions or not."""
        if tree.seed_match == "fallback":
            self.unmatched_seeds += 1
            if len(self.unmatched) < SHOWN_UNMATCHED:
                self.unmatched.append(f"'{tree.seed_data[:60]}' → {str(tree.start.value)[:60]}")
        self.pay(record)

    def pay(self, record: SeedOutcome) -> None:
        """Count what a seed took of chat models, whatever came of it."""
        if record.spent:
            self.spent.update(asdict(record.spent))

    def item(self, item: QAItem) -> None:
        """Count an item that is kept."""
        self.by_name["status"][item.verification.status] += 1
        self.by_name["kinds"][str(item.provenance.question_kind)] += 1
        self.by_name["match"][item.provenance.seed_match] += 1
        self.by_name["language"][item.language] += 1
        self.by_name["templates"][item.provenance.template] += 1
        self.hops[item.quality.hops] += 1
        self.spent["tool_calls"] += item.cost.tool_calls

    def statistics(self, *, files: dict[str, str], answers: AnswerCounts, seeds: SeedCounts, answer_limit: int) -> Statistics:
        """All of it."""
        rejected, templates = self.by_name["rejected"], self.by_name["templates"]
        at_the_end = sum(rejected[name] for name in ("duplicate", "contaminated", "answer_too_common"))
        return Statistics(
            items=ItemCounts(
                verified=self.by_name["status"]["verified"],
                judged=self.by_name["status"]["judged"],
                unverified=self.by_name["status"]["unverified"],
            ),
            rejected={reason: count for reason, count in sorted(rejected.items()) if count},
            failures=dict(sorted(self.by_name["failures"].items())),
            candidates=self.written + rejected.total() - at_the_end,
            question_kinds=dict(sorted(self.by_name["kinds"].items())),
            templates=len(templates),
            most_common_templates=dict(sorted(templates.items(), key=lambda pair: (-pair[1], pair[0]))[:COMMON]),
            hops={str(key): value for key, value in sorted(self.hops.items())},
            median_hops=_median(self.hops),
            unmatched_seeds=UnmatchedSeeds(seeds=self.unmatched_seeds, examples=self.unmatched),
            seed_match=dict(sorted(self.by_name["match"].items())),
            languages=dict(sorted(self.by_name["language"].items())),
            cost=Cost(
                llm_calls=self.spent["llm_calls"],
                tokens_in=self.spent["tokens_in"],
                tokens_out=self.spent["tokens_out"],
                usd=self.spent["usd"],
                tool_calls=self.spent["tool_calls"],
            ),
            files=files,
            answers=answers,
            seeds=seeds,
            answer_limit=answer_limit,
        )


def _write(
    config: SynthesisConfig, index: sqlite3.Connection, seen: Seen, decisions: bytearray, limit: int, files: _Files
) -> _Counted:
    exporters = {name: load_plugin(EXPORTS, name, "export").rows for name in config.exports}
    counted = _Counted()
    for seed_index, record in records_in(index):
        if record.failure is not None or record.tree is None:
            assert record.failure is not None
            counted.failed += 1
            counted.by_name["failures"][record.failure.reason] += 1
            counted.pay(record)
            files.write("failures.jsonl", replace(record.failure, seed_index=seed_index))
            continue
        files.write("trees.jsonl", record.tree)
        counted.seed(record, record.tree)
        trajectories = {trajectory.trajectory_id: trajectory for trajectory in record.trajectories}
        for rejected in record.rejected:
            counted.by_name["rejected"][rejected.reason] += 1
            files.write("rejected.jsonl", rejected)
        for item in record.items:
            reason, detail = _verdict(decisions[counted.written], item, seen, limit)
            counted.written += 1
            if reason:
                counted.by_name["rejected"][reason] += 1
                files.write("rejected.jsonl", Rejected.of_item(item, reason, detail))
                continue
            kept = replace(
                item,
                metadata=replace(item.metadata, seed_index=seed_index),
                quality=replace(item.quality, dup_cluster=item.qa_id),
                signature=UNSET,
            )
            status = kept.verification.status
            files.write(STATUS_FILES[status], kept)
            trajectory = trajectories[kept.trajectory_id]
            files.write("trajectories.jsonl", trajectory)
            if status in EXPORTED:
                for name, rows in exporters.items():
                    for row in rows(kept, trajectory, record.tree):
                        files.write(f"dataset/{EXPORTED[status]}{name}.jsonl", row)
            counted.item(kept)
    for name in ("qa.jsonl", "trajectories.jsonl", "trees.jsonl", "rejected.jsonl", "failures.jsonl"):
        files.touch(name)
    return counted


def _verdict(decision: int, item: QAItem, seen: Seen, limit: int) -> tuple[str, str]:
    if decision == CONTAMINATED:
        return "contaminated", "shares 13 words in a row with a file under `decontaminate`"
    if decision == DUPLICATE:
        return "duplicate", f"the same question as {seen.said_of(item.qa_id)}"
    if seen.count_answer(item.answer) > limit:
        return "answer_too_common", f"{limit} questions have this answer already"
    return "", ""


def _median(hops: Counter[int]) -> int | None:
    ordered = sorted(hops.elements())
    return ordered[len(ordered) // 2] if ordered else None


class _Files:
    """Files being written under temporary names; `keep` gives them their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hashes: dict[str, str] = {}
        self._open: dict[str, BinaryIO] = {}
        self._digests: dict[str, hashlib._Hash] = {}

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *error: object) -> None:
        for name, file in self._open.items():
            file.close()
            self._temporary(name).unlink(missing_ok=True)

    def touch(self, name: str) -> None:
        """See that the file exists, with or without lines."""
        if name not in self._open:
            path = self._temporary(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open[name] = path.open("wb")
            self._digests[name] = hashlib.sha256()

    def write(self, name: str, record: msgspec.Struct | Mapping[str, object]) -> None:
        """Add a line: a record, or the JSON object of a user's own export."""
        self.touch(name)
        line = (encode(record) if isinstance(record, msgspec.Struct) else orjson.dumps(record)) + b"\n"
        self._digests[name].update(line)
        self._open[name].write(line)

    def keep(self) -> None:
        """Close all and put them in place."""
        for name, file in sorted(self._open.items()):
            file.close()
            self._temporary(name).replace(self.folder / name)
            self.hashes[name] = self._digests[name].hexdigest()
        self._open.clear()

    def _temporary(self, name: str) -> Path:
        path = self.folder / name
        return path.with_name(f".{path.name}.tmp")
