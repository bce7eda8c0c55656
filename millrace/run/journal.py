"""Files that a `kill -9` cannot spoil: append-only journals, atomic writes, torn-tail repair.

A shard's records go line by line into `shard-00000.jsonl.part`. When the shard is complete the file is synced and renamed to
`shard-00000.jsonl`: that name means "finished" and nothing else does.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import orjson

from millrace.errors import RunFailed
from millrace.records.record import RecordT, damaged, decode, encode

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Row = dict[str, Json]
"""A line of any schema, for readers that need none of its fields, or show them all."""

PART = ".part"
LOCK_WAIT_S = 30.0
"""How long to wait for a shard that another process writes: a Dask worker whose flow was killed needs about 3 s to end."""


class Journal:
    """One shard's records, appended as they come and read back after a crash.

    Covers: SIGKILL of this process at any moment (a line is handed to the kernel in one write; a torn last line is cut on
    opening), a second writer on the same shard (refused), power loss after `finish` (synced before the rename).
    Does not cover: power loss before `finish`: the lines since the last `sync` may be gone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(path.name + PART)
        self._file: io.BufferedRandom | None = None
        self._ids: set[str] = set()

    @property
    def done(self) -> bool:
        """Whether the shard is finished."""
        return self.path.exists()

    @property
    def ids(self) -> set[str]:
        """The ids of all records in the journal, finished or not."""
        if self._file is None:
            return {str(record["id"]) for record in self.records() if "id" in record}
        return self._ids

    def __enter__(self) -> Journal:
        """Open for appending; a finished shard is not opened and can only be read."""
        if self.done:
            self.part.unlink(missing_ok=True)
            return self
        self.part.parent.mkdir(parents=True, exist_ok=True)
        file = open(self.part, "a+b", buffering=0)  # noqa: PTH123 - closed in __exit__
        if not _locked_within(file, LOCK_WAIT_S):
            file.close()
            raise RunFailed(f"{self.part} is being written by another process; wait for it or stop it")
        if self.done:  # the other writer finished it while this one waited
            file.close()
            self.part.unlink(missing_ok=True)
            return self
        file.truncate(whole_lines(self.part))
        self._file = file  # type: ignore[assignment]
        self._ids = {str(record["id"]) for record in read_jsonl(self.part) if "id" in record}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def append(self, *records: msgspec.Struct | Mapping[str, Any]) -> None:
        """Add records, in one write. A record whose id is already there is not written twice."""
        if self._file is None:
            raise ValueError(f"{self.path} is not open for writing")
        lines = []
        for record in records:
            name = record.get("id") if isinstance(record, Mapping) else getattr(record, "id", None)
            if name is not None:
                if name in self._ids:
                    continue
                self._ids.add(name)
            lines.append(_line(record))
        block = b"".join(lines)
        if block and self._file.write(block) != len(block):  # a full disk takes half a line; the next opening cuts it
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.part))

    def sync(self) -> None:
        """Ask the kernel to put what was appended onto the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def records(self) -> list[Row]:
        """All records, in the order they stand in the file."""
        path = self.path if self.done else self.part
        return list(read_jsonl(path)) if path.exists() else []

    def records_of(self, kind: type[RecordT]) -> list[RecordT]:
        """All records, typed; `kind` may be a union of types.

        Raises:
            RunFailed: a line is no such record; the message names file, line and field.
        """
        path = self.path if self.done else self.part
        return list(read_records(path, kind)) if path.exists() else []

    def finish_sorted(self, kind: type[RecordT], order: Callable[[RecordT], tuple[int, ...]]) -> None:
        """`finish`, with the records sorted by `order`."""
        if self._file is not None:
            records = list(read_records(self.part, kind))
            records.sort(key=order)
            write_jsonl(self.path, records)
            self.part.unlink(missing_ok=True)
            self._file.close()
            self._file = None

    def finish(self) -> None:
        """Make the shard complete: synced, renamed."""
        if self._file is None:
            return
        self.sync()
        self.part.replace(self.path)
        sync_folder(self.path.parent)
        self._file.close()
        self._file = None


def reopen_journal(path: Path, kind: type[RecordT], to_redo: Callable[[RecordT], bool]) -> bool:
    """Make a finished journal an unfinished one without the records that are `to_redo`; whether there were any.

    The lines that stay are copied as they are.
    """
    lines = list(_whole_lines_of(path))
    kept = [line for line, where in lines if not to_redo(decode(line, kind, where))]
    if len(kept) == len(lines):
        return False
    write_atomic(path.with_name(path.name + PART), b"".join(kept))
    path.unlink()  # from here on the shard is an unfinished one; before, it was a finished one
    return True


def _locked_within(file: Any, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        else:
            return True


def whole_lines(path: Path) -> int:
    """How many bytes of `path` are whole lines: where a torn last line starts."""
    size = path.stat().st_size
    with path.open("rb") as file:
        end = size
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0


def read_jsonl(path: Path) -> Iterator[Row]:
    """The records of a JSON-lines file, one at a time; a torn last line is left out.

    Raises:
        RunFailed: a line in the middle is not JSON; the message names file and line.
    """
    for line, where in _whole_lines_of(path):
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise RunFailed(f"{where} {damaged(error)}") from error


def read_records(path: Path, kind: type[RecordT]) -> Iterator[RecordT]:
    """The records of a JSON-lines file, of one type, one at a time; a torn last line is left out.

    Raises:
        RunFailed: a line is damaged, or of another shape; the message names file and line.
    """
    for line, where in _whole_lines_of(path):
        yield decode(line, kind, where)


def _whole_lines_of(path: Path) -> Iterator[tuple[bytes, str]]:
    """Each line that is not empty, with its end, and where it stands; a torn last line is left out."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            if not line.isspace():
                yield line, f"{path}, line {number}"


def read_record(path: Path, kind: type[RecordT]) -> RecordT:
    """The record that a JSON file is.

    Raises:
        RunFailed: the file is damaged, or holds another shape.
    """
    return decode(path.read_bytes(), kind, str(path))


def _line(record: msgspec.Struct | Mapping[str, Any]) -> bytes:
    if isinstance(record, msgspec.Struct):
        return encode(record) + b"\n"
    return orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n"


def write_jsonl(path: Path, records: Iterable[msgspec.Struct | Mapping[str, Any]]) -> int:
    """Write an iterable of records as JSON lines, all or nothing; returns how many."""
    count = 0
    with _replacing(path) as file:
        for record in records:
            file.write(_line(record))
            count += 1
    return count


def write_atomic(path: Path, data: bytes | str) -> None:
    """Put `data` at `path`, all or nothing."""
    with _replacing(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def write_json(path: Path, value: Any) -> None:
    """Put `value`, a record or plain JSON, at `path` as indented JSON, all or nothing."""
    plain = orjson.loads(encode(value)) if isinstance(value, msgspec.Struct) else value
    write_atomic(path, orjson.dumps(plain, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        RunFailed: the file is damaged.
    """
    try:
        return orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise RunFailed(f"{path} {damaged(error)}") from error


class _replacing:  # noqa: N801 - reads as a verb where it is used
    """A file that takes the place of `path` when the block ends well, and leaves no trace when it does not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def __enter__(self) -> io.BufferedWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.temporary.open("wb")
        return self.file

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.file.flush()
                os.fsync(self.file.fileno())
                self.temporary.replace(self.path)
                sync_folder(self.path.parent)
        finally:
            self.file.close()
            self.temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` last through a power loss."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
