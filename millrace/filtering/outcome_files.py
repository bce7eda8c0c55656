"""Where the records of a big file lie, read once from front to back in constant memory.

JSON lines are cut at byte ranges, so that many workers share one file; a JSON array is split by its structure alone (quotes,
backslashes, brackets), without parsing what is between them. Either way a record is handed out as (offset, bytes): a later
pass can seek to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
import numpy as np

from millrace.errors import InputError

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
    """The files to read: `place` itself, or the JSON files of a folder, by name; of a run's stage its shards and no summary.

    Raises:
        InputError: there is nothing there to read.
    """
    if place.is_dir():
        shards = sorted(place.glob("shard-*.jsonl"))
        found = shards or sorted(file for file in place.iterdir() if file.suffix in (".jsonl", ".json") and file.is_file())
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


def _elements(file: BinaryIO, read_bytes: int) -> Iterator[tuple[int, bytes]]:
    """The elements of a JSON array, as far as they are objects or arrays; what else stands between them comes out as it is.

    A cut-off last element and anything after the closing bracket come out too, so that nothing is passed over in silence.
    """
    head = file.read(4096)
    at = head.index(b"[") + 1  # where `rest` stands in the file; it always begins between two elements
    rest = head[at:]
    seam = b""
    while True:
        more = file.read(max(read_bytes, len(rest)))  # doubled while no element is complete, so that none is read often
        window = rest + more
        if seam and (quick := _known_seam(window, seam)):
            yield from ((at + start, text) for start, text in quick)
            used = quick[-1][0] + len(quick[-1][1])
        else:
            starts, ends, close = _structure(window)
            used = 0
            for start, end in zip(starts, ends, strict=True):
                yield from _between(at + used, window[used:start])
                yield at + start, window[start:end]
                used = end
            if len(ends) > 1:
                seam = window[ends[-2] - 1 : starts[-1] + SEAM_BYTES]
            if close is not None:
                yield from _between(at + used, window[used:close])
                used = close + 1
                yield from _between(at + used, window[used:] + file.read())
                return
        rest = window[used:]
        at += used
        if not more:  # the closing bracket is missing: a byte that no decoder accepts, so that this is counted as unreadable
            yield from _between(at, rest + b"\0")
            return


SEAM_BYTES = 12
"""Bytes of an element's beginning by which the seam between two elements is recognised."""

_SEPARATOR = re.compile(rb"\s*,?\s*")
_decode_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode


def _known_seam(window: bytes, seam: bytes) -> list[tuple[int, bytes]]:
    """The elements up to the last place that looks like the seam seen before; none when that was a wrong guess.

    A guess can't go wrong unseen: what lies before it must parse as whole elements.
    """
    cut = window.rfind(seam) + 1
    first = _SEPARATOR.match(window)
    assert first is not None
    try:
        elements = _decode_raw(b"[" + window[first.end() : cut] + b"]") if cut else []
    except msgspec.DecodeError:
        return []
    found = []
    at = first.end()
    for element in elements:
        text = bytes(element)
        if text[:1] not in (b"{", b"["):
            return []
        found.append((at, text))
        gap = _SEPARATOR.match(window, at + len(text))
        assert gap is not None
        at = gap.end()
    return found


QUOTE, OPEN, CLOSE = 1, 2, 3
_MARKS = bytes(
    {ord('"'): QUOTE, ord("{"): OPEN, ord("["): OPEN, ord("}"): CLOSE, ord("]"): CLOSE}.get(byte, 0) for byte in range(256)
)


def _structure(window: bytes) -> tuple[list[int], list[int], int | None]:
    """Where the complete elements in `window` start and end, and where the array closes, if it does.

    `window` begins between two elements. Only quotes, backslashes and brackets are looked at.
    """
    blotted = window
    if b"\\" in window:  # blot out what is escaped, pairs of backslashes first, leaving every byte in its place
        blotted = window.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    marks = np.frombuffer(blotted.translate(_MARKS), np.uint8)
    where = np.flatnonzero(marks != 0)  # of booleans, for which NumPy has a fast path
    kind = marks[where]
    is_quote = kind == QUOTE
    outside = np.flatnonzero(((np.cumsum(is_quote, dtype=np.int32) & 1) == 0) & ~is_quote)
    where, opening = where[outside], kind[outside] == OPEN
    depth = np.cumsum(opening.astype(np.int32) * 2 - 1)
    closed = np.flatnonzero(depth < 0)
    if len(closed):
        where, opening, depth = where[: closed[0] + 1], opening[: closed[0] + 1], depth[: closed[0] + 1]
    ends = where[(depth == 0) & ~opening] + 1
    starts = where[(depth == 1) & opening][: len(ends)]
    return starts.tolist(), ends.tolist(), int(where[-1]) if len(closed) else None


def _between(offset: int, text: bytes) -> Iterator[tuple[int, bytes]]:
    """Text between two elements: a comma and blanks are nothing; anything else is a record that isn't an object."""
    stripped = text.strip()
    if stripped and stripped != b",":
        yield offset, text
