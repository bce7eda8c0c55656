"""Checks over the whole run: equal and near-equal questions, answers given too often, overlap with a benchmark.

They need an order to say which of two comes first; it is that of the seeds' ids, so the outcome depends neither on the workers
nor
on the order of the seeds. What has been seen lives in an SQLite file: memory does not grow with the run.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from millrace.errors import InputError
from millrace.synthesis.writing import normalised

HASHES, BANDS = 128, 16
"""128 hashes in 16 bands of 8: two questions of similarity 0.95 share a band with probability 0.999999, of 0.5 with 0.06."""

OVERLAP_WORDS = 13
"""Words in a row that count as contamination: the customary length for benchmark decontamination."""

_RNG = np.random.default_rng(20_240_131)
_A = _RNG.integers(0, 1 << 63, HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_B = _RNG.integers(0, 1 << 63, HASHES, dtype=np.uint64)


def units(text: str) -> list[str]:
    """Words, numbers, signs and single Chinese characters: what questions are compared by."""
    return re.findall(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+|[^\w\s]", normalised(text))


def signature_of(text: str) -> list[int]:
    """The MinHash of a text's triples of units: the share of equal entries of two is their similarity."""
    parts = units(text)
    triples = {" ".join(parts[i : i + 3]) for i in range(max(1, len(parts) - 2))}
    hashes = np.array(
        [int.from_bytes(hashlib.blake2b(triple.encode(), digest_size=8).digest(), "big") for triple in triples], dtype=np.uint64
    )
    rows = (hashes[:, None] * _A[None, :] + _B[None, :]) >> np.uint64(32)  # multiply-shift hashing, wrapping at 2**64
    return [int(value) for value in rows.min(axis=0)]


class Seen:
    """The questions that came before, on disk."""

    def __init__(self, path: Path, threshold: float) -> None:
        path.unlink(missing_ok=True)
        self.threshold = threshold
        self._db = sqlite3.connect(path, isolation_level=None)
        self._path = path
        self._db.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-20000;"
            "CREATE TABLE exact (key BLOB PRIMARY KEY, name TEXT) WITHOUT ROWID;"
            "CREATE TABLE bands (key BLOB, name TEXT, signature BLOB);"
            "CREATE INDEX by_key ON bands (key);"
            "CREATE TABLE same (name TEXT PRIMARY KEY, other TEXT) WITHOUT ROWID;"
            "CREATE TABLE answers (key BLOB PRIMARY KEY, times INTEGER, text TEXT) WITHOUT ROWID;"
            "BEGIN"
        )

    def duplicate_of(self, name: str, question: str, signature: list[int] | None) -> str | None:
        """The id of an equal or near-equal question that came before; None for a new one, which is remembered."""
        other = self._look_up(name, question, signature)
        if other is not None:
            self._db.execute("INSERT OR REPLACE INTO same VALUES (?, ?)", (name, other))
        return other

    def said_of(self, name: str) -> str:
        """What `duplicate_of` answered about this item."""
        return str(self._db.execute("SELECT other FROM same WHERE name = ?", (name,)).fetchone()[0])

    def _look_up(self, name: str, question: str, signature: list[int] | None) -> str | None:
        key = _digest(normalised(question))
        found = self._db.execute("SELECT name FROM exact WHERE key = ?", (key,)).fetchone()
        if found is not None:
            return str(found[0])
        bands: list[bytes] = []
        packed = b""
        if signature is not None and self.threshold < 1:
            row = np.array(signature, dtype=np.uint32)
            packed = row.tobytes()
            bands = [bytes([place]) + part.tobytes() for place, part in enumerate(np.split(row, BANDS))]
            for band in bands:
                for other, theirs in self._db.execute("SELECT name, signature FROM bands WHERE key = ?", (_digest(band),)):
                    if float((np.frombuffer(theirs, dtype=np.uint32) == row).mean()) >= self.threshold:
                        return str(other)
        self._db.execute("INSERT INTO exact VALUES (?, ?)", (key, name))
        self._db.executemany("INSERT INTO bands VALUES (?, ?, ?)", [(_digest(band), name, packed) for band in bands])
        return None

    def count_answer(self, answer: str) -> int:
        """How often the answer was given, this time included."""
        key = _digest(normalised(answer))
        row = "INSERT INTO answers VALUES (?, 1, ?) ON CONFLICT (key) DO UPDATE SET times = times + 1 RETURNING times"
        return int(self._db.execute(row, (key, answer)).fetchone()[0])

    def times(self) -> dict[int, int]:
        """How many answers were given once, twice, …"""
        return dict(self._db.execute("SELECT times, COUNT(*) FROM answers GROUP BY times"))

    def most_common_answers(self, count: int) -> dict[str, int]:
        """The answers given most often, as they were first spelt, and how often."""
        rows = self._db.execute("SELECT text, times FROM answers ORDER BY times DESC, key LIMIT ?", (count,))
        return {text[:100]: times for text, times in rows}

    def different_answers(self) -> int:
        """How many different answers were given."""
        return int(self._db.execute("SELECT COUNT(*) FROM answers").fetchone()[0])

    def forget_answers(self) -> None:
        """Count from zero again."""
        self._db.execute("DELETE FROM answers")

    def close(self) -> None:
        """Remove the file."""
        self._db.close()
        self._path.unlink(missing_ok=True)


def answer_limit(times: Mapping[int, int], share: float) -> int:
    """The largest number of questions one answer may have so that none exceeds `share` of what is then left; at least 1.

    Args:
        times: how many answers were given once, twice, ….
    """
    limit = max(times, default=1)
    while limit > 1 and limit > share * sum(count * min(given, limit) for given, count in times.items()):
        limit -= 1
    return limit


def load_earlier(seen: Seen, paths: Iterable[Path]) -> int:
    """Remember the questions of earlier datasets (`qa.jsonl`); returns how many."""
    count = 0
    for path in paths:
        for record in _rows(path):
            question = record.get("question") if isinstance(record, dict) else None
            if isinstance(question, str):
                seen.duplicate_of(
                    str(record.get("qa_id", f"{path.name}:{count}")),
                    question,
                    signature_of(question) if seen.threshold < 1 else None,
                )
                count += 1
    return count


class Contamination:
    """Runs of words of a user's files."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._grams: set[bytes] = set()
        for path in paths:
            for row in _rows(path):
                texts = [str(value) for value in row.values()] if isinstance(row, dict) else [str(row)]
                for text in texts:
                    self._grams |= set(_grams(text))

    def hits(self, question: str) -> bool:
        """Whether the question shares a run of words with them."""
        return bool(self._grams) and any(gram in self._grams for gram in _grams(question))


def _grams(text: str) -> Iterator[bytes]:
    words = [unit for unit in units(text) if unit[0].isalnum()]
    for place in range(len(words) - OVERLAP_WORDS + 1):
        yield _digest(" ".join(words[place : place + OVERLAP_WORDS]))


def _digest(text: str | bytes) -> bytes:
    return hashlib.blake2b(text.encode() if isinstance(text, str) else text, digest_size=8).digest()


def _rows(path: Path) -> Iterator[Any]:
    try:
        file = path.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield orjson.loads(line) if path.suffix in (".jsonl", ".json") else line
                except orjson.JSONDecodeError as error:
                    raise InputError(f"{path}, line {number}, is not JSON: {error}") from error
