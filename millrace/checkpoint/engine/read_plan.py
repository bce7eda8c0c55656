"""Turns torch's read requests into places in files, in the order in which the disk has them.

Most saved tensors share their head with others of the same shape, so one head is read per kind of item; the others are
predicted from it and checked when their bytes pass by during the read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch.distributed.checkpoint.metadata import MetadataIndex, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadItemType, ReadItem

from millrace.checkpoint.engine.geometry import Box, is_dense
from millrace.checkpoint.engine.open_files import OpenFiles
from millrace.checkpoint.engine.vector_io import will_need
from millrace.checkpoint.formats.item_heads import HEAD_BYTES, Head
from millrace.checkpoint.formats.item_pickle import UnusualItemError
from millrace.checkpoint.formats.safetensors_format import SafetensorsError
from millrace.records.checkpoint import Problem

Strictness = Literal["none", "size", "crc"]


@dataclass(frozen=True)
class SafetensorsItem:
    """Where a tensor of a safetensors file is: what `storage_data` holds for a Hugging Face folder."""

    relative_path: str
    offset: int
    """Of the data, from the start of the file."""
    length: int
    dtype: torch.dtype | None
    """None: torch has no name for it."""
    dtype_name: str
    sizes: tuple[int, ...]


@dataclass(slots=True)
class Read:
    """One request, placed."""

    item: ReadItem
    file: int
    """Index into the plan's files."""
    offset: int
    """Of the saved item in its file."""
    length: int
    head: Head
    """Its `data_offset` counts from `offset`."""
    box: Box
    """The part asked for, in the storage."""
    dense: bool
    """Whether that part is one run of bytes."""
    nbytes: int
    checked: bool
    """Whether the head is the item's own. False: predicted from an item of the same kind, to be checked while reading."""

    @property
    def data_start(self) -> int:
        """Offset in the file of the first byte asked for."""
        return self.offset + self.head.data_offset + self.box.start * self.head.dtype.itemsize


@dataclass
class StockRead:
    """One request that torch's own code has to serve, and why."""

    item: ReadItem
    reason: str


@dataclass
class ReadPlan:
    """What `plan_reads` found. `reads` are sorted by file and place; `problems` are all that's wrong before a byte is read."""

    reads: list[Read] = field(default_factory=list)
    byte_items: list[ReadItem] = field(default_factory=list)
    stock: list[StockRead] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    payload_bytes: int = 0


class UnknownDtype(SafetensorsError):
    """A tensor of a dtype that torch has no name for."""


def plan_reads(
    items: Sequence[ReadItem],
    storage_data: Mapping[Any, Any],
    opened: OpenFiles,
    *,
    tensors: Mapping[str, Any],
    strict: Strictness = "size",
) -> ReadPlan:
    """Find where every request's bytes are.

    Args:
        items: the requests of a `LoadPlan`.
        storage_data: the metadata's map from index to place.
        opened: the checkpoint's files; files are opened as they are met.
        tensors: the metadata's description of each saved value, by name.
        strict: `none` trusts the metadata; `size` checks that files are long enough and saved shapes the described ones;
            `crc` wants the saved dtypes to be the described ones too.
    """
    plan = ReadPlan()
    placed: list[tuple[ReadItem, int, Any]] = []
    short: set[tuple[int, int]] = set()
    for item in items:
        info = storage_data.get(item.storage_index)
        if info is None:
            plan.problems.append(Problem("the metadata does not say where it is stored", tensor=item.storage_index.fqn))
            continue
        file = opened.index(info.relative_path, plan.problems)
        if file is None:
            continue
        if info.offset < 0 or info.length < 0 or (strict != "none" and info.offset + info.length > opened.sizes[file]):
            if (file, info.offset) not in short:
                short.add((file, info.offset))
                plan.problems.append(_too_short(opened, file, item, info))
            continue
        if item.type == LoadItemType.BYTE_IO:
            plan.byte_items.append(item)
            plan.payload_bytes += info.length
        elif getattr(info, "transform_descriptors", None):
            plan.stock.append(StockRead(item, f"transform {'+'.join(info.transform_descriptors)}"))
        else:
            placed.append((item, file, info))
    _place(placed, opened, tensors, strict, plan)
    plan.reads.sort(key=lambda read: (read.file, read.data_start))
    plan.payload_bytes += sum(read.nbytes for read in plan.reads)
    return plan


def _too_short(opened: OpenFiles, file: int, item: ReadItem, info: Any) -> Problem:
    what = f"the file ends at byte {opened.sizes[file]}, the item needs bytes {info.offset} to {info.offset + info.length}"
    return Problem(what, opened.names[file], item.storage_index.fqn, info.offset)


def _place(
    placed: list[tuple[ReadItem, int, Any]], opened: OpenFiles, tensors: Mapping[str, Any], strict: Strictness, plan: ReadPlan
) -> None:
    known: dict[Any, Read] = {}
    kinds = [(info.length, *_described(item, tensors)) for item, _, info in placed]
    _announce(placed, kinds, opened)
    for (item, file, info), kind in zip(placed, kinds, strict=True):
        model = known.get(kind)
        if model is not None and item.lengths == kind[2]:
            plan.reads.append(Read(item, file, info.offset, info.length, model.head, model.box, model.dense, model.nbytes, False))
            continue
        try:
            head = head_of(item, file, info, opened)
        except UnknownDtype as unknown:
            plan.problems.append(Problem(str(unknown), opened.names[file], item.storage_index.fqn, info.offset))
            continue
        except (UnusualItemError, SafetensorsError) as unusual:
            plan.stock.append(StockRead(item, str(unusual)))
            continue
        except OSError as error:
            what = f"its head cannot be read: {error.strerror or error}"
            plan.problems.append(Problem(what, opened.names[file], item.storage_index.fqn, info.offset))
            continue
        what = "" if strict == "none" else _differs(head, kind[1], kind[2], strict)
        read = None if what else read_of(item, file, info, head)
        if read is None:
            what = what or f"{_slice(item)} is asked for and the saved tensor has shape {list(head.sizes)}"
            plan.problems.append(Problem(what, opened.names[file], item.storage_index.fqn, info.offset))
            continue
        plan.reads.append(read)
        if head.raw and item.lengths == kind[2] == head.sizes and read.nbytes == head.storage_nbytes:
            known[kind] = read  # only one that fills its storage: then the heads of those predicted from it pass by too


def _described(item: ReadItem, tensors: Mapping[str, Any]) -> tuple[torch.dtype | None, torch.Size | None]:
    """The saved shard's dtype and shape as the metadata has them; None where it doesn't say."""
    index = item.storage_index
    described = tensors.get(index.fqn)
    if not isinstance(described, TensorStorageMetadata):
        return None, None
    chunks, hint = described.chunks, index.index
    if hint is None or not 0 <= hint < len(chunks) or chunks[hint].offsets != index.offset:
        for chunk in chunks:
            if chunk.offsets == index.offset:
                return described.properties.dtype, chunk.sizes
        return described.properties.dtype, None
    return described.properties.dtype, chunks[hint].sizes


def _differs(head: Head, dtype: torch.dtype | None, sizes: torch.Size | None, strict: Strictness) -> str:
    if sizes is not None and head.sizes != sizes:
        return f"the metadata says shape {list(sizes)} and the file holds {list(head.sizes)}: are files mixed up?"
    if strict == "crc" and dtype is not None and head.dtype != dtype:
        return f"the metadata says {dtype} and the file holds {head.dtype}: are files mixed up?"
    return ""


def _announce(placed: list[tuple[ReadItem, int, Any]], kinds: list[Any], opened: OpenFiles) -> None:
    """Start reading the first head of each kind, so that a slow disk works on all of them at once."""
    if not any(opened.cold):
        return
    seen: set[Any] = set()
    for (item, file, info), kind in zip(placed, kinds, strict=True):
        if opened.cold[file] and (kind not in seen or item.lengths != kind[2]):
            seen.add(kind)
            with opened.use(file) as handle:
                will_need(handle, info.offset, HEAD_BYTES)


def head_of(item: ReadItem, file: int, info: Any, opened: OpenFiles) -> Head:
    """`head_at` for a request."""
    return head_at(item.storage_index, file, info, opened)


def head_at(index: MetadataIndex, file: int, info: Any, opened: OpenFiles) -> Head:
    """Read and parse one item's own head, or find its entry in a safetensors header.

    Raises:
        UnusualItemError: torch has to read it. SafetensorsError: it's a damaged safetensors blob. OSError: the disk failed.
    """
    if isinstance(info, SafetensorsItem):
        if info.dtype is None:
            raise UnknownDtype(f"its dtype {info.dtype_name!r} is unknown here")
        return plain_head(0, info.length, info.dtype, info.sizes)
    data = opened.read_at(file, min(HEAD_BYTES, max(info.length, 16)), info.offset)
    if data[:2] == b"PK" or data[8:9] != b"{":
        return opened.heads.parse(data[: info.length], info.length)
    found = opened.blob(file, info.offset).tensors.get(index.fqn)
    if found is None or (index.offset is not None and tuple(index.offset) != found.offsets):
        raise UnusualItemError("not in its safetensors blob")
    if found.dtype is None:
        raise UnknownDtype(f"its dtype {found.dtype_name!r} is unknown here")
    if info.offset + found.start + found.nbytes > opened.sizes[file]:
        raise UnusualItemError("its safetensors blob is cut short")
    return plain_head(found.start, found.nbytes, found.dtype, found.sizes)


def plain_head(data_offset: int, nbytes: int, dtype: torch.dtype, sizes: tuple[int, ...]) -> Head:
    """Of a tensor that lies row by row, with nothing around it to be compared."""
    strides: list[int] = []
    step = 1
    for size in reversed(sizes):
        strides.append(step)
        step *= max(size, 1)
    return Head(data_offset, nbytes, dtype, tuple(sizes), tuple(reversed(strides)), 0, b"", 0)


def read_of(item: ReadItem, file: int, info: Any, head: Head) -> Read | None:
    """The request against the saved tensor; None where it reaches over its edge."""
    lengths, offsets = item.lengths, item.storage_offsets
    if lengths == head.sizes and not any(offsets):
        box = Box(head.storage_offset, head.sizes, head.strides)
    else:
        if len(lengths) != len(head.sizes) or len(offsets) != len(head.sizes):
            return None
        start = head.storage_offset
        for offset, length, size, stride in zip(offsets, lengths, head.sizes, head.strides, strict=True):
            if offset < 0 or length < 0 or offset + length > size:
                return None
            start += offset * stride
        box = Box(start, tuple(lengths), head.strides)
    count = 1
    for size in box.sizes:
        count *= size
    dense = is_dense(box.sizes, box.strides)
    return Read(item, file, info.offset, info.length, head, box, dense, count * head.dtype.itemsize, True)


def _slice(item: ReadItem) -> str:
    ranges = (f"{low}:{low + size}" for low, size in zip(item.storage_offsets, item.lengths, strict=True))
    return f"[{', '.join(ranges)}]"
