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
from typing import Any, BinaryIO

import orjson

from millrace.plugins.loading import load_plugin
from millrace.run.journal import PART
from millrace.synthesis.checks import Contamination, Seen, answer_limit, load_earlier
from millrace.synthesis.runs.shard_plan import Plan
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


def assemble(config: SynthesisConfig, plan: Plan, folder: Path) -> dict[str, Any]:
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
            statistics = _write(config, index, seen, decisions, limit, files)
            files.keep()
            statistics["files"] = files.hashes
        common = {answer: min(times, limit) for answer, times in seen.most_common_answers(COMMON).items()}
        statistics["answers"] = {"different": seen.different_answers(), "most_common": common}
    finally:
        seen.close()
        index.close()
    statistics["seeds"] = {
        "lines": plan.lines,
        "different": plan.seeds,
        "repeats": plan.lines - plan.seeds,
        "failed": statistics.pop("failed"),
    }
    statistics["answer_limit"] = limit
    return statistics


def records_in(index: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    """The records of all present seeds, in the order of their ids, with `seed_index` filled in."""
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
            record = orjson.loads(opened[name].read(size))
            record["seed_index"] = place
            yield record


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
    for record in records_in(index):
        for item in record["items"]:
            if contamination.hits(item["question"]):
                decisions.append(CONTAMINATED)
                continue
            same = seen.duplicate_of(item["qa_id"], item["question"], item.get("signature"))
            decisions.append(KEEP if same is None else DUPLICATE)
            if same is None:
                seen.count_answer(item["answer"])
    return decisions


def _write(
    config: SynthesisConfig, index: sqlite3.Connection, seen: Seen, decisions: bytearray, limit: int, files: _Files
) -> dict[str, Any]:
    exporters = {name: load_plugin(EXPORTS, name, "export").rows for name in config.exports}
    counts: dict[str, Counter[Any]] = {
        name: Counter()
        for name in ("status", "rejected", "failures", "hops", "kinds", "match", "language", "answers", "cost", "unmatched")
    }
    templates: Counter[str] = Counter()
    unmatched: list[str] = []
    place = failed = 0
    for record in records_in(index):
        if record["failure"] is not None:
            failed += 1
            counts["failures"][record["failure"]["reason"]] += 1
            files.write("failures.jsonl", {**record["failure"], "seed_index": record["seed_index"]})
            continue
        files.write("trees.jsonl", record["tree"])
        if record["tree"]["seed_match"] == "fallback":
            counts["unmatched"]["seeds"] += 1
            if len(unmatched) < SHOWN_UNMATCHED:
                unmatched.append(f"'{record['tree']['seed_data'][:60]}' → {str(record['tree']['start']['value'])[:60]}")
        counts["cost"].update(record.get("spent", {}))  # of the whole seed, kept questions or not
        trajectories = {trajectory["trajectory_id"]: trajectory for trajectory in record["trajectories"]}
        for rejected in record["rejected"]:
            counts["rejected"][rejected["reason"]] += 1
            files.write("rejected.jsonl", rejected)
        for item in record["items"]:
            reason, detail = _verdict(decisions[place], item, seen, limit)
            place += 1
            item.pop("signature", None)
            if reason:
                counts["rejected"][reason] += 1
                files.write("rejected.jsonl", {"reason": reason, "detail": detail, **item})
                continue
            item["metadata"]["seed_index"] = record["seed_index"]
            item["quality"]["dup_cluster"] = item["qa_id"]
            status = item["verification"]["status"]
            files.write(STATUS_FILES[status], item)
            trajectory = trajectories[item["trajectory_id"]]
            files.write("trajectories.jsonl", trajectory)
            if status in EXPORTED:
                for name, rows in exporters.items():
                    for row in rows(item, trajectory, record["tree"]):
                        files.write(f"dataset/{EXPORTED[status]}{name}.jsonl", row)
            _count(counts, templates, item)
    for name in ("qa.jsonl", "trajectories.jsonl", "trees.jsonl", "rejected.jsonl", "failures.jsonl"):
        files.touch(name)
    return {
        "failed": failed,
        "items": {status: counts["status"].get(status, 0) for status in STATUS_FILES},
        "rejected": dict(sorted(counts["rejected"].items())),
        "failures": dict(sorted(counts["failures"].items())),
        "candidates": place
        + sum(counts["rejected"].values())
        - sum(counts["rejected"][name] for name in ("duplicate", "contaminated", "answer_too_common")),
        "question_kinds": dict(sorted(counts["kinds"].items())),
        "templates": len(templates),
        "most_common_templates": dict(sorted(templates.items(), key=lambda pair: (-pair[1], pair[0]))[:COMMON]),
        "hops": {str(key): value for key, value in sorted(counts["hops"].items())},
        "median_hops": _median(counts["hops"]),
        "unmatched_seeds": {"seeds": counts["unmatched"]["seeds"], "examples": unmatched},
        "seed_match": dict(sorted(counts["match"].items())),
        "languages": dict(sorted(counts["language"].items())),
        "cost": {name: counts["cost"].get(name, 0) for name in ("llm_calls", "tokens_in", "tokens_out", "usd", "tool_calls")},
    }


def _verdict(decision: int, item: Mapping[str, Any], seen: Seen, limit: int) -> tuple[str, str]:
    if decision == CONTAMINATED:
        return "contaminated", "shares 13 words in a row with a file under `decontaminate`"
    if decision == DUPLICATE:
        return "duplicate", f"the same question as {seen.said_of(item['qa_id'])}"
    if seen.count_answer(item["answer"]) > limit:
        return "answer_too_common", f"{limit} questions have this answer already"
    return "", ""


def _count(counts: dict[str, Counter[Any]], templates: Counter[str], item: Mapping[str, Any]) -> None:
    counts["status"][item["verification"]["status"]] += 1
    counts["hops"][item["quality"]["hops"]] += 1
    counts["kinds"][item["provenance"]["question_kind"]] += 1
    counts["match"][item["provenance"]["seed_match"]] += 1
    counts["language"][item["language"]] += 1
    templates[item["provenance"]["template"]] += 1
    counts["cost"]["tool_calls"] += item["cost"]["tool_calls"]


def _median(hops: Counter[int]) -> int | None:
    ordered = sorted(hops.elements())
    return ordered[len(ordered) // 2] if ordered else None


class _Files:
    """Files being written under temporary names; `keep` gives them their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hashes: dict[str, str] = {}
        self._open: dict[str, Any] = {}
        self._digests: dict[str, Any] = {}

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

    def write(self, name: str, record: Mapping[str, Any]) -> None:
        """Add a line."""
        self.touch(name)
        line = orjson.dumps(record) + b"\n"
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
