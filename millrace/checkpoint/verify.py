"""Looks for damage in a checkpoint, file by file, so that a cluster can share the work.

Covers: missing and short files, heads, shapes and dtypes against the metadata, the CRC-32 of every tensor and byte item, byte
items that would run code, holes in tensors, the seal. Does not cover: without a seal, files of equal shapes exchanged with each
other; safetensors files have no sums of their own, so without a seal only their structure is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torch.distributed.checkpoint.metadata import MetadataIndex, TensorStorageMetadata

from millrace.checkpoint.checksums import CheckedItem, against_seal, archive_problem, crc_results
from millrace.checkpoint.engine.coverage import is_covered
from millrace.checkpoint.engine.open_files import OpenFiles
from millrace.checkpoint.engine.place import Place
from millrace.checkpoint.engine.read_engine import threads_for
from millrace.checkpoint.engine.read_plan import UnknownDtype, head_at
from millrace.checkpoint.engine.stalls import STALL_S, StalledRead, Watch
from millrace.checkpoint.engine.vector_io import Files, PosixFiles
from millrace.checkpoint.formats.allowed_classes import classes_named
from millrace.checkpoint.formats.byte_items import Refusal, refusal
from millrace.checkpoint.formats.item_heads import HEAD_BYTES
from millrace.checkpoint.formats.item_pickle import UnusualItemError
from millrace.checkpoint.formats.safetensors_format import SafetensorsError
from millrace.checkpoint.problems import CheckpointError
from millrace.checkpoint.reader import ParallelFileSystemReader
from millrace.checkpoint.seal import Seal, metadata_sha256, read_seal, write_seal
from millrace.records.checkpoint import Problem

if TYPE_CHECKING:
    from millrace.checkpoint.settings import CheckpointConfig


@dataclass(frozen=True)
class FilePart:
    """One file's items, for one task."""

    folder: Path
    name: str
    items: tuple[tuple[MetadataIndex, Any, Any], ...]
    """Index, place, and what the metadata says of the whole value."""


@dataclass
class FileReport:
    """What was found in one file."""

    name: str
    items: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    sums: dict[int, int] = field(default_factory=dict)
    """CRC-32 by byte offset of the storage."""
    foreign: dict[str, str] = field(default_factory=dict)
    """Values that ask for classes or code of somebody's own; they may be sound, and are loaded only by who trusts them."""
    unsummed: int = 0
    """Items that have no CRC of their own to be checked against."""


def parts_of(path: Path, stall_s: float | None = STALL_S, files: Files | None = None) -> tuple[list[FilePart], list[Problem]]:
    """The work on a checkpoint, largest files first, and what its metadata alone shows to be wrong.

    Args:
        path: the checkpoint.
        stall_s: how long one read may have no answer.
        files: how bytes are read; for tests.

    Raises:
        CheckpointError: it has no readable metadata, or there is no answer.
    """
    metadata = ParallelFileSystemReader(path, stall_s=stall_s, files=files).read_metadata()
    place, watch = Place(path, files), Watch(stall_s)
    folder = Path(place.folder)
    described = metadata.state_dict_metadata
    by_file: dict[str, list[tuple[MetadataIndex, Any, Any]]] = {}
    for index, info in metadata.storage_data.items():
        by_file.setdefault(info.relative_path, []).append((index, info, described.get(index.fqn)))
    problems = [problem for name, one in described.items() if (problem := _hole_in(name, one, metadata.storage_data))]
    try:
        seal = read_seal(place, watch)
        changed = seal.metadata_problem(place, watch) if seal else None
    except StalledRead as stalled:
        raise CheckpointError(str(path), [Problem(str(stalled), stalled.file)]) from stalled
    parts = [FilePart(folder, name, tuple(items)) for name, items in by_file.items()]
    parts.sort(key=lambda part: -sum(info.length for _, info, _ in part.items))
    return parts, problems + ([changed] if changed else [])


def _hole_in(name: str, one: Any, places: dict[Any, Any]) -> Problem | None:
    if not isinstance(one, TensorStorageMetadata):
        return None if MetadataIndex(name) in places else Problem("the metadata does not say where it is stored", tensor=name)
    if not is_covered(one):
        stored = sum(prod(chunk.sizes) for chunk in one.chunks)
        what = f"{stored} elements in {len(one.chunks)} parts are stored, and they do not cover its shape {list(one.size)}"
        return Problem(what, tensor=name)
    for chunk in one.chunks:
        if MetadataIndex(name, chunk.offsets) not in places:
            return Problem(f"its part at {list(chunk.offsets)} is not stored anywhere", tensor=name)
    return None


def verify_part(part: FilePart, config: CheckpointConfig) -> FileReport:
    """`verify_file` as a run's config wants it."""
    allow = classes_named(config.allow_globals)
    return verify_file(part, config.threads, byte_items=config.byte_items, allow=allow, stall_s=config.stall_s)


def verify_file(
    part: FilePart,
    threads: int | None = None,
    *,
    byte_items: Literal["error", "skip", "trusted"] = "skip",
    allow: tuple[type, ...] = (),
    stall_s: float | None = STALL_S,
    files: Files | None = None,
) -> FileReport:
    """Check all items of one file; problems are collected, none raised.

    Args:
        part: the file.
        threads: for the sums; None: from cores and bytes.
        byte_items: what values are that need classes outside `allow`: damage (`error`), a note in the report (`skip`), or not
            looked into (`trusted`).
        allow: classes of the user's own.
        stall_s: how long one read may have no answer.
        files: how bytes are read; for tests.
    """
    watch = Watch(stall_s)
    opened = OpenFiles(part.folder, files or PosixFiles(), watch)
    try:
        report = watch.wait_for(lambda: _report(part, opened, threads, allow))
    except StalledRead as stalled:
        return FileReport(part.name, items=len(part.items), problems=[Problem(str(stalled), stalled.file)])
    if byte_items == "error":
        report.problems += [Problem(f"byte item {why}", part.name, name) for name, why in report.foreign.items()]
    if byte_items != "skip":
        report.foreign.clear()
    return report


def _report(part: FilePart, opened: OpenFiles, threads: int | None, allow: tuple[type, ...]) -> FileReport:
    report = FileReport(part.name, items=len(part.items))
    seal = read_seal(Place(part.folder, opened.files), opened.watch)
    try:
        file = opened.index(part.name, report.problems)
        if file is None:
            return report
        checked: list[CheckedItem] = []
        for index, info, described in sorted(part.items, key=lambda item: item[1].offset):
            report.bytes += info.length
            found = _look_at(index, info, described, opened, file, allow)
            if isinstance(found, Refusal):
                report.foreign[index.fqn] = found.why
            elif isinstance(found, str):
                if found:
                    report.problems.append(Problem(found, part.name, index.fqn, info.offset))
            else:
                checked.append(found)
        for item, crc, what in crc_results(checked, opened, threads_for(report.bytes, threads)):
            unsummed = not item.head.descriptor_nbytes and item.head.storage_nbytes > 0
            report.unsummed += unsummed and seal is None
            wrong = what or ("" if unsummed and seal is None else against_seal(item, part.name, crc, seal))
            if wrong:
                report.problems.append(Problem(wrong, part.name, item.tensor, item.offset))
            if item.head.storage_nbytes and crc is not None:
                report.sums[item.offset + item.head.data_offset] = crc
    finally:
        opened.close()
    return report


def _look_at(
    index: MetadataIndex, info: Any, described: Any, opened: OpenFiles, file: int, allow: tuple[type, ...]
) -> CheckedItem | Refusal | str:
    """An item to be summed, or what is wrong with it; an empty string: it was checked whole and nothing is."""
    if info.offset + info.length > opened.sizes[file]:
        return f"the file ends at byte {opened.sizes[file]}, the item needs bytes {info.offset} to {info.offset + info.length}"
    is_tensor = isinstance(described, TensorStorageMetadata)
    if is_tensor and not getattr(info, "transform_descriptors", None):
        try:
            head = head_at(index, file, info, opened)
        except UnknownDtype:
            return ""  # nobody can say more about it than its place
        except (UnusualItemError, SafetensorsError) as unusual:
            if info.length > HEAD_BYTES << 10:
                return f"not a plain tensor ({unusual}), and too large to be checked as a whole"
        except OSError as error:
            return f"its head cannot be read: {error.strerror or error}"
        else:
            sizes = [chunk.sizes for chunk in described.chunks if chunk.offsets == index.offset]
            if sizes and sizes[0] != head.sizes:
                return f"the metadata says shape {list(sizes[0])} and the file holds {list(head.sizes)}"
            if head.dtype != described.properties.dtype:
                return f"the metadata says {described.properties.dtype} and the file holds {head.dtype}"
            return CheckedItem(file, info.offset, info.length, head, index.fqn)
    data = opened.read_at(file, info.length, info.offset)
    if getattr(info, "transform_descriptors", None):
        return ""
    wrong = archive_problem(data)
    if wrong or is_tensor:
        return wrong
    found = refusal(data, allow)
    return (found if found.kind == "foreign" else found.why) if found else ""


def seal_checkpoint(folder: Path, reports: Sequence[FileReport]) -> Path:
    """Write the sums that were found into the checkpoint; only for one without problems."""
    seal = Seal(metadata_sha256(Place(folder), Watch(None)))
    for report in reports:
        assert not report.problems
        for place, crc in report.sums.items():
            seal.add(report.name, place, crc)
    return write_seal(folder, seal)
