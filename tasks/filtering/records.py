"""Where the records of a big file lie, read once from front to back in constant memory.

JSON lines are cut at byte ranges, so that many workers share one file; a JSON array is split by its structure alone (quotes,
backslashes, brackets), without parsing what is between them. Either way a record is handed out as (offset, bytes): a later
pass can seek to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.errors import InputError

READ_BYTES = 1 << 20
"""Bytes read at a time: large enough that the per-chunk work disappears, small enough to stay in the processor's cache."""

BOM = b"\xef\xbb\xbf"


class Part(NamedTuple):
    """A stretch of a file whose records one task reads: those that *start* in [start, end)."""

    path: str
    start: int
    end: int
    is_array: bool

    @property
    def name(self) -> str:
        """What to call it in a file name or a log: the file's stem and where the part starts."""
        return f"{Path(self.path).stem}-{self.start}"


def input_files(place: Path) -> list[Path]:
    """The files to read: `place` itself, or the JSON files of a folder, by name.

    Raises:
        InputError: there is nothing there to read.
    """
    if place.is_dir():
        found = sorted(file for file in place.iterdir() if file.suffix in (".jsonl", ".json") and file.is_file())
        if not found:
            raise InputError(f"{place} holds no .jsonl or .json file; give the folder of a probing run, or a file of outcomes")
        return found
    if not place.is_file():
        raise InputError(f"there are no outcomes at {place}; run flows.probing first, or name another file or folder")
    return [place]


def plan_parts(paths: Sequence[Path], part_bytes: int = 64 << 20) -> list[Part]:
    """Cut files into parts of about `part_bytes`. A JSON array is one part, for only its whole tells where a record starts."""
    parts: list[Part] = []
    for path in paths:
        size = path.stat().st_size
        if is_array(path):
            parts.append(Part(str(path), 0, size, is_array=True))
        else:
            parts += [Part(str(path), at, min(at + part_bytes, size), is_array=False) for at in range(0, size, part_bytes)]
    return parts


def is_array(path: Path) -> bool:
    """Whether the file's first character says JSON array; anything else is read as JSON lines."""
    with path.open("rb") as file:
        return file.read(4096).removeprefix(BOM).lstrip()[:1] == b"["


def read_records(part: Part, *, read_bytes: int = READ_BYTES) -> Iterator[tuple[int, bytes]]:
    """Each record of a part as (offset in the file, its bytes). What is no record comes too: the caller's decoder says so."""
    with Path(part.path).open("rb", buffering=max(read_bytes, 4096)) as file:
        yield from _elements(file, read_bytes) if part.is_array else _lines(file, part.start, part.end)


def read_at(file: BinaryIO, offset: int, length: int) -> bytes:
    """The bytes of one record."""
    file.seek(offset)
    return file.read(length)


def _lines(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    offset = start
    if start:  # the line that reaches into this part belongs to the part before, unless it ends exactly here
        file.seek(start - 1)
        offset = start - 1 + len(file.readline())
    for line in file:
        if offset >= end:
            return
        length = len(line)
        if offset == 0 and line.startswith(BOM):
            line = line[len(BOM) :]  # noqa: PLW2901 - the mark is no part of the record
            offset, length = len(BOM), len(line)
        if not line.isspace():
            yield offset, line
        offset += length


QUOTE, BACKSLASH, OPEN, CLOSE = 1, 2, 3, 4
_MARKS = bytes(
    {ord('"'): QUOTE, ord("\\"): BACKSLASH, ord("{"): OPEN, ord("["): OPEN, ord("}"): CLOSE, ord("]"): CLOSE}.get(byte, 0)
    for byte in range(256)
)


class _Structure:
    """What must be remembered between two chunks of an array: inside a string?, after a backslash?, how deep?"""

    def __init__(self) -> None:
        self.in_string = 0
        self.escaping = False
        self.depth = 0

    def feed(self, chunk: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions in `chunk` of the brackets at which an element of the outer array begins or ends, and the depth there.

        Depth 2: an element begins with this bracket. 1: the array begins after it, or an element ends with it. 0: the array ends.
        """
        marks = np.frombuffer(chunk.translate(_MARKS), np.uint8)
        where = np.flatnonzero(marks)
        kind = marks[where]
        keep = ~self._escaped(where, kind, len(chunk)) if self.escaping or (kind == BACKSLASH).any() else kind > 0
        keep &= kind != BACKSLASH
        where, kind = where[keep], kind[keep]
        quotes = np.cumsum(kind == QUOTE)
        outside = ((quotes + self.in_string) & 1 == 0) & (kind != QUOTE)
        self.in_string = int(self.in_string + (quotes[-1] if len(quotes) else 0)) & 1
        where, kind = where[outside], kind[outside]
        opening = kind == OPEN
        depth = self.depth + np.cumsum(np.where(opening, 1, -1))
        if len(depth):
            self.depth = int(depth[-1])
        edges = np.flatnonzero(((depth == 2) & opening) | (depth <= 1))
        return where[edges], depth[edges]

    def _escaped(self, where: NDArray[np.int64], kind: NDArray[np.uint8], length: int) -> NDArray[np.bool_]:
        """Which of the marked bytes a backslash takes the meaning from: those right after a run of an odd number of them."""
        slashes = where[kind == BACKSLASH]
        if self.escaping:
            slashes = np.concatenate(([-1], slashes))
        first = np.concatenate(([True], np.diff(slashes) != 1))
        starts = slashes[first]
        lengths = np.diff(np.concatenate((np.flatnonzero(first), [len(slashes)])))
        after = (starts + lengths)[lengths % 2 == 1]
        self.escaping = bool(len(after) and after[-1] == length)
        return np.isin(where, after)


def _elements(file: BinaryIO, read_bytes: int) -> Iterator[tuple[int, bytes]]:
    """The elements of a JSON array, as far as they are objects or arrays; what else stands between them comes out as it is.

    A cut-off last element and anything after the closing bracket come out too, so that nothing is passed over in silence.
    """
    structure = _Structure()
    base = len(BOM) if file.read(3) == BOM else 0
    file.seek(base)
    opened = closed = False  # the array's own brackets
    pending: list[bytes] = []  # the element (or the text between two) that began in an earlier chunk
    pending_at = base
    while chunk := file.read(read_bytes):
        cursor = 0
        for at, depth in zip(*(found.tolist() for found in structure.feed(chunk)), strict=True):
            if depth == 1 and opened:
                yield pending_at, b"".join((*pending, chunk[cursor : at + 1]))
            elif opened:
                yield from _between(pending_at, b"".join((*pending, chunk[cursor:at])))
            opened, closed = True, depth <= 0
            cursor = at if depth == 2 else at + 1
            pending, pending_at = [], base + cursor
        pending.append(chunk[cursor:])
        base += len(chunk)
    rest = b"".join(pending)
    # Without its closing bracket the file is cut off: a byte that no decoder takes makes sure that somebody is told.
    yield from _between(pending_at, rest if closed else rest + b"\0")


def _between(offset: int, text: bytes) -> Iterator[tuple[int, bytes]]:
    """Text between two elements: a comma and blanks are nothing; anything else is a record that isn't an object."""
    stripped = text.strip()
    if stripped and stripped != b",":
        yield offset, text
