"""A lake from pictures of any source: each decoded once to see that it can be, copies recognised, all or nothing.

LAKE/lake-00000.parquet …     image_id, image_path (its name in the source), jpg (its bytes as they were), copy_group, the
                              source's own columns
LAKE/rejected.jsonl           what is not in the lake, with the reason
LAKE/import.json              the counts
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from millrace.errors import InputError, ItemFailed, UsageError
from millrace.lake.copies import groups_of_copies, perceptual_hash, thumbnail_of
from millrace.lake.images import decode_image
from millrace.lake.importing.found import Found
from millrace.lake.rows import COPY_GROUP, IMAGE_COLUMNS
from millrace.records.lake import ImportSummary, RejectedImage
from millrace.run.counted import counted
from millrace.run.journal import sync_folder, write_json, write_jsonl
from millrace.threads import in_order

ROWS_PER_FILE = 1000
BYTES_PER_FILE = 256 << 20
"""A file of the lake is closed when it reaches either: the most that is held in memory."""

GROUP_ROWS = 32
"""Rows of a row group: what a reader that wants one picture has to read."""

Copies = Literal["group", "drop", "keep"]


class _Seen(NamedTuple):
    """What is kept of a picture that is in the lake."""

    image_id: str
    sha256: str
    hash: int
    thumbnail: bytes
    pixels: int


class _Looked(NamedTuple):
    """A picture that was decoded, or why it could not be."""

    found: Found
    seen: _Seen | None
    problem: ItemFailed | None


def write_lake(
    pictures: Iterable[Found],
    out: Path,
    *,
    copies: Copies = "group",
    workers: int | None = None,
    left_aside: Mapping[str, int] | None = None,
    on_images: Callable[[int], None] | None = None,
) -> ImportSummary:
    """Write the lake `out`; the same bytes for any number of workers.

    Args:
        pictures: as `Sources` gives them.
        out: the folder to make.
        copies: what happens to near copies of one picture: they get one `copy_group`, so that a dataset's splits keep them
            together; or only the one with the most pixels stays; or nothing is done. The very same bytes are always kept once.
        workers: threads that decode; None: one for each CPU.
        left_aside: ending → files that are no pictures, filled in while `pictures` is read.
        on_images: called with the number of pictures looked at so far.

    Raises:
        UsageError: `out` is there already.
        InputError: no picture can be used.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already and is not empty; choose another --out")
    building = out.with_name(f".{out.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        writer = _Writer(building)
        for number, looked in enumerate(in_order(_look, pictures, width=workers or os.cpu_count() or 1, name="import"), start=1):
            writer.add(looked)
            if on_images is not None:
                on_images(number)
        writer.flush()
        if not writer.seen:
            raise InputError(_nothing(writer.rejected, left_aside or {}))
        summary = _with_groups(writer, copies, dict(sorted((left_aside or {}).items())))
        write_jsonl(building / "rejected.jsonl", writer.rejected)
        write_json(building / "import.json", summary)
        if out.exists():
            out.rmdir()
        building.rename(out)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    sync_folder(out.absolute().parent)
    return summary


def _look(found: Found) -> _Looked:
    if found.problem is not None or found.data is None:
        return _Looked(found, None, found.problem or ItemFailed("no_image", "nothing is in it"))
    try:
        image = decode_image(found.data)
    except ItemFailed as failure:
        return _Looked(found, None, failure)
    digest = sha256(found.data).hexdigest()
    return _Looked(
        found,
        _Seen(
            _image_id(found.name, digest),
            digest,
            perceptual_hash(image),
            thumbnail_of(image),
            image.width * image.height,
        ),
        None,
    )


def _image_id(name: str, digest: str) -> str:
    """A name that a person recognises, that no other picture has, and that can be a file's name."""
    stem = PurePosixPath(name).with_suffix("").as_posix()
    plain = re.sub(r"[^\w.-]+", "-", stem).strip("-.")[-60:].lstrip("-.")
    return f"{plain or 'image'}-{digest[:8]}"


class _Writer:
    """The lake's files as they are written, and what is remembered of each picture."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: list[_Seen] = []
        self.rejected: list[RejectedImage] = []
        self.same = 0
        self._first: dict[str, str] = {}
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self.sizes: list[int] = []
        """Rows of each file."""

    def add(self, looked: _Looked) -> None:
        """One picture more."""
        name, seen = looked.found.name, looked.seen
        if seen is None:
            failure = looked.problem or ItemFailed("no_image")
            self.rejected.append(RejectedImage(name=name, reason=failure.reason, detail=failure.detail))
            return
        if seen.sha256 in self._first:
            self.same += 1
            detail = f"the same bytes as {self._first[seen.sha256]}"
            self.rejected.append(RejectedImage(name=name, reason="same_file", detail=detail))
            return
        self._first[seen.sha256] = name
        self.seen.append(seen)
        data = looked.found.data or b""
        own = {column: value for column, value in looked.found.columns.items() if column not in _OURS}
        self._rows.append({"image_id": seen.image_id, "image_path": name, "jpg": data, **own})
        self._bytes += len(data)
        if len(self._rows) >= ROWS_PER_FILE or self._bytes >= BYTES_PER_FILE:
            self.flush()

    def flush(self) -> None:
        """Close the file that is being filled."""
        if self._rows:
            write_rows(_table_of(self._rows), self.file(len(self.sizes)))
            self.sizes.append(len(self._rows))
            self._rows, self._bytes = [], 0

    def file(self, number: int) -> Path:
        """The path of one file."""
        return self.folder / f"lake-{number:05d}.parquet"


_OURS = frozenset({"image_id", "image_path", "jpg", COPY_GROUP, *IMAGE_COLUMNS})


def _table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table; a column whose values are of several kinds becomes JSON text."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return pa.table({column: _array([row.get(column) for row in rows], column) for column in columns})


def _array(values: list[Any], column: str) -> pa.Array:
    if column == "jpg":
        return pa.array(values, pa.binary())
    try:
        array = pa.array(values)
        if not pa.types.is_null(array.type) and array.type != pa.struct([]):
            return array
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        pass
    return pa.array([None if value is None else _json(value) for value in values], pa.string())


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:
        return str(value)


def write_rows(table: pa.Table, file: Path) -> None:
    """One parquet file of a lake; pictures are compressed already."""
    pq.write_table(table, file, row_group_size=GROUP_ROWS, compression="none", use_dictionary=False)


def _with_groups(writer: _Writer, copies: Copies, left_aside: dict[str, int]) -> ImportSummary:
    """Write the groups of copies into the files that have some; the summary."""
    seen = writer.seen
    first = np.arange(len(seen))
    if copies != "keep":
        first = groups_of_copies([one.hash for one in seen], [one.thumbnail for one in seen])
    names, counts = np.unique(first, return_counts=True)
    groups = {int(name) for name, count in zip(names, counts, strict=True) if count > 1}
    best: dict[int, int] = {}
    for place, group in enumerate(first.tolist()):
        if group in groups and (group not in best or seen[place].pixels > seen[best[group]].pixels):
            best[group] = place
    dropped, start = 0, 0
    for number, size in enumerate(writer.sizes):
        inside = first[start : start + size].tolist()
        if groups & set(inside):
            table = pq.read_table(writer.file(number))
            if copies == "drop":
                kept = [group not in groups or best[group] == start + row for row, group in enumerate(inside)]
                for row, (group, keep) in enumerate(zip(inside, kept, strict=True)):
                    if not keep:
                        detail = f"a copy of {seen[best[group]].image_id}, which has more pixels or comes first"
                        name = table.column("image_path")[row].as_py()
                        writer.rejected.append(RejectedImage(name=name, reason="copy", detail=detail))
                dropped += kept.count(False)
                table = table.filter(pa.array(kept))
            else:
                labels = [f"copies-{seen[group].sha256[:16]}" if group in groups else None for group in inside]
                table = table.append_column(COPY_GROUP, pa.array(labels, pa.string()))
            if table.num_rows:
                write_rows(table, writer.file(number))
            else:
                writer.file(number).unlink()
        start += size
    in_groups = int(sum(count for count in counts if count > 1))
    return ImportSummary(
        images=len(seen) - dropped,
        files=len(list(writer.folder.glob("*.parquet"))),
        copies=in_groups,
        copy_groups=len(groups),
        same_file=writer.same,
        rejected=dict(sorted(Counter(one.reason for one in writer.rejected).items())),
        left_aside=left_aside,
    )


def _nothing(rejected: list[RejectedImage], left_aside: Mapping[str, int]) -> str:
    if rejected:
        first = rejected[0]
        more = f" (and {len(rejected) - 1} more)" if len(rejected) > 1 else ""
        return f"no picture can be used: {first.name}: {first.detail or first.reason}{more}"
    kinds = ", ".join(f"{count} {ending}" for ending, count in Counter(left_aside).most_common(5))
    return f"there is no picture in what was named{f'; it holds {kinds}' if kinds else ''}"


def summary_text(summary: ImportSummary, out: Path) -> str:
    """What the command says at its end, in a few lines."""
    said = [f"imported {counted(summary.images, 'images')} into {out} ({counted(summary.files, 'files')})"]
    if summary.copy_groups:
        said.append(f"{summary.copies} of what was found are copies of each other, in {counted(summary.copy_groups, 'groups')}")
    if summary.rejected:
        reasons = ", ".join(f"{reason} {count}" for reason, count in summary.rejected.items())
        said.append(f"left out {sum(summary.rejected.values())}: {reasons}; each with its reason in {out / 'rejected.jsonl'}")
    if summary.left_aside:
        kinds = ", ".join(f"{ending} {count}" for ending, count in summary.left_aside.items())
        said.append(f"not looked at, for their names are not those of pictures: {kinds}")
    return "\n".join(said)
