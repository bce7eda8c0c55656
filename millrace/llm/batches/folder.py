"""A run's batches on disk: a record, the questions and the answers of each, shared by all processes of the run.

    CHAT_FOLDER/batches/ENDPOINT/NAME.json            the record, replaced as a whole at each step
                                 NAME.questions.jsonl what is handed in; gone once the answers are here
                                 NAME.answers.jsonl   what the provider answered, as it answered it
                                 NAME.lock            held by the process that sees to the batch, until it ends in whatever way

Covers: SIGKILL at any moment, several processes that ask the same.
Does not cover: processes on several machines whose file system has no locks (`flock`).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import orjson

from millrace.records.batches import BatchAnswer, BatchCounts, BatchRecord
from millrace.run.journal import write_atomic

FOLDER = "batches"

FORGIVEN = "forgiven"

_record = msgspec.json.Decoder(BatchRecord)
_answer = msgspec.json.Decoder(BatchAnswer)


def batch_folder(folder: Path, base_url: str, model: str) -> Path:
    """Where the batches of one model at one base URL are, in the run's folder of chats."""
    return folder / FOLDER / hashlib.blake2b(f"{base_url}\n{model}".encode(), digest_size=8).hexdigest()


def folders_below(folder: Path) -> list[Path]:
    """The folders of all models that are asked in batches, in the run's folder of chats."""
    return sorted(path for path in folder.glob(f"{FOLDER}/*") if path.is_dir())


def forgive_below(folder: Path) -> None:
    """A new start of a stage: what batches have failed on before it is asked again. `folder`: the run's folder of chats."""
    for place in folders_below(folder):
        BatchFolder(place).forgive()


def batches_below(folder: Path) -> Iterator[BatchRecord]:
    """All batches in the run's folder of chats."""
    for place in folders_below(folder):
        for path in sorted(place.glob("*.json")):
            with contextlib.suppress(OSError, msgspec.DecodeError):
                yield _record.decode(path.read_bytes())


def counts_below(folder: Path) -> BatchCounts:
    """What all batches in the run's folder of chats have come to."""
    records = list(batches_below(folder))
    return BatchCounts(
        questions=sum(len(record.requests) for record in records),
        answered=sum(record.done for record in records),
        submitted=sum(record.batch_id != "" for record in records),
        running=sum(record.batch_id != "" and record.status != "collected" for record in records),
        done=sum(record.batch_id != "" and record.status == "collected" for record in records),
    )


class BatchFolder:
    """The batches of one model at one base URL."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: dict[str, tuple[tuple[int, int], BatchRecord]] = {}
        self._answers: dict[str, dict[str, BatchAnswer]] = {}
        self._indexed: set[str] = set()
        self._holding: dict[str, list[str]] = {}
        """By question the names of the batches that hold it."""

    def records(self) -> list[BatchRecord]:
        """All batches, in the order in which they were planned."""
        if self.path.is_dir():
            for entry in os.scandir(self.path):
                name, dot, kind = entry.name.partition(".")
                if not dot or kind != "json":
                    continue
                state = (entry.stat().st_mtime_ns, entry.inode())  # a record is replaced, never written into
                if name not in self._seen or self._seen[name][0] != state:
                    self._seen[name] = (state, _record.decode(Path(entry.path).read_bytes()))
        return sorted((record for _, record in self._seen.values()), key=lambda record: (record.number, record.name))

    def record(self, name: str) -> BatchRecord:
        """One batch, as it stands on disk now."""
        return _record.decode((self.path / f"{name}.json").read_bytes())

    def with_question(self, key: str) -> list[BatchRecord]:
        """The batches that hold a question, in the order in which they were planned."""
        records = self.records()
        for record in records:
            if record.name not in self._indexed:
                self._indexed.add(record.name)
                for one in record.requests:
                    self._holding.setdefault(one, []).append(record.name)
        names = self._holding.get(key, ())
        return [record for record in records if record.name in names] if names else []

    def write(self, record: BatchRecord) -> BatchRecord:
        """Write a record down; when this returns, it survives the end of the process."""
        write_atomic(self.path / f"{record.name}.json", orjson.dumps(msgspec.to_builtins(record)))
        return record

    def others(self, record: BatchRecord) -> set[str]:
        """The ids of all batches of the run that are known not to be `record`.

        One that another record found by looking is not among them until its answers are there: it may be `record`'s.
        """
        known = {*record.not_it}
        for folder in self.path.parent.iterdir():
            for other in BatchFolder(folder).records() if folder.is_dir() and folder != self.path else self.records():
                sure = other.batch_id and (not other.looked_up or other.status == "collected")
                if other.name != record.name and sure:
                    known.add(other.batch_id)
        return known

    def write_questions(self, name: str, lines: Iterable[bytes]) -> None:
        """Write down what is going to be handed in."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomic(self._questions(name), b"".join(line + b"\n" for line in lines))

    def questions(self, name: str) -> list[bytes]:
        """What is handed in, a line for each question."""
        return self._questions(name).read_bytes().splitlines()

    def write_answers(self, record: BatchRecord, answers: Iterable[BatchAnswer]) -> int:
        """Write down what a batch holds, the first answer to each of its questions; returns how many have one."""
        wanted = set(record.requests)
        kept: dict[str, BatchAnswer] = {}
        for answer in answers:
            if answer.id in wanted:
                kept.setdefault(answer.id, answer)
        write_atomic(self._answered(record.name), b"".join(msgspec.json.encode(answer) + b"\n" for answer in kept.values()))
        return sum(answer.status == 200 for answer in kept.values())

    def answers(self, record: BatchRecord) -> dict[str, BatchAnswer]:
        """What a collected batch holds, by question; nothing for what it left unanswered."""
        found = self._answers.get(record.name)
        if found is None:
            lines = self._answered(record.name)
            read = [_answer.decode(line) for line in lines.read_bytes().splitlines()] if lines.exists() else []
            found = self._answers[record.name] = {answer.id: answer for answer in read}
        return found

    @property
    def forgiven(self) -> int:
        """Batches with a lower number count for their answers and not for their failures."""
        try:
            return int((self.path / FORGIVEN).read_text())
        except (OSError, ValueError):
            return 0

    def forgive(self) -> None:
        """A new start of the run: what failed before it is asked again."""
        ended = [record.number + 1 for record in self.records() if record.status == "collected"]
        if ended:
            write_atomic(self.path / FORGIVEN, str(max(ended)))

    def drop_questions(self, name: str) -> None:
        """Remove what was handed in: it may be large, and is not needed any more."""
        self._questions(name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[bool]:
        """Whether this process alone sees to `name` in the block; False where another one does."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / f"{name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def _questions(self, name: str) -> Path:
        return self.path / f"{name}.questions.jsonl"

    def _answered(self, name: str) -> Path:
        return self.path / f"{name}.answers.jsonl"
