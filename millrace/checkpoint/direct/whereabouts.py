"""Where the whole tensors of a checkpoint are, as arrays: what a load needs to know of thousands, without an object for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, TensorStorageMetadata

from millrace.checkpoint.engine.geometry import is_dense
from millrace.checkpoint.engine.open_files import OpenFiles
from millrace.checkpoint.engine.read_plan import SafetensorsItem, head_at, plain_head
from millrace.checkpoint.engine.vector_io import Files
from millrace.checkpoint.formats.item_heads import Head
from millrace.checkpoint.formats.item_pickle import UnusualItemError
from millrace.checkpoint.formats.safetensors_folder import header_of
from millrace.checkpoint.formats.safetensors_format import SafetensorsError

Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass
class Whereabouts:
    """Tensors that are stored whole and plainly: one run of bytes each, behind a head that others of its kind have too."""

    files: list[str]
    names: list[str]
    file: Numbers
    """Index into `files`, for each name; the others likewise."""
    offset: Numbers
    """Of the saved item."""
    length: Numbers
    kind: Numbers
    """Index into `heads`."""
    heads: list[Head]

    def is_within(self, sizes: Sequence[int]) -> bool:
        """Whether all of it lies in files of these sizes, and each number points to something that there is."""
        if not len(self.names) == len(self.file) == len(self.offset) == len(self.length) == len(self.kind):
            return False
        if not self.names:
            return True
        for numbers, most in ((self.file, len(self.files)), (self.kind, len(self.heads))):
            if numbers.min() < 0 or numbers.max() >= most:
                return False
        ends = np.array([head.data_offset + head.storage_nbytes for head in self.heads], dtype=np.int64)[self.kind]
        if self.offset.min() < 0 or (ends > self.length).any() or self.length.max() > np.iinfo(np.int64).max // 4:
            return False
        return bool((self.offset <= np.array(sizes, dtype=np.int64)[self.file] - self.length).all())


def whereabouts_of(metadata: Metadata, opened: OpenFiles) -> Whereabouts:
    """Those of a checkpoint's tensors that are stored so; one head is read for each kind of them.

    A tensor in parts, transformed, strided, or in a file that is missing is left out: the reader has its way with each.
    """
    names: list[str] = []
    rows: list[tuple[int, int, int, int]] = []
    heads: list[Head] = []
    known: dict[Any, int | None] = {}
    storage = metadata.storage_data
    for name, one in metadata.state_dict_metadata.items():
        if not isinstance(one, TensorStorageMetadata) or len(one.chunks) != 1:
            continue
        (chunk,) = one.chunks
        if chunk.sizes != one.size or any(chunk.offsets) or 0 in one.size:
            continue
        index = MetadataIndex(name, chunk.offsets)
        place = storage.get(index)
        if type(place) not in (_StorageInfo, SafetensorsItem) or getattr(place, "transform_descriptors", None):
            continue
        file = opened.index(place.relative_path, [])
        if file is None or place.offset + place.length > opened.sizes[file]:
            continue
        dtype = one.properties.dtype
        key = (place.length, dtype, one.size)
        if key not in known:
            head = _head(index, place, file, opened, dtype, one.size)
            known[key] = None if head is None else len(heads)
            heads += [] if head is None else [head]
        kind = known[key]
        if kind is not None:
            names.append(name)
            rows.append((file, place.offset, place.length, kind))
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    return Whereabouts(list(opened.names), names, table[:, 0], table[:, 1], table[:, 2], table[:, 3], heads)


def headers_whereabouts(folder: Path, files: Files, names: Sequence[str]) -> Whereabouts | None:
    """Those of safetensors files; None where a file is not as it should be, or holds what has no place in here."""
    rows: list[tuple[int, int, int, int]] = []
    kinds: dict[tuple[str, tuple[int, ...]], int] = {}
    heads: list[Head] = []
    found: dict[str, None] = {}
    for number, name in enumerate(names):
        try:
            header, size = header_of(folder / name, files)
        except (OSError, SafetensorsError):
            return None
        if header.nbytes != size:
            return None
        for one in header.tensors.values():
            if one.dtype is None or one.name in found or any(one.offsets):
                return None
            if not one.nbytes:
                continue
            found[one.name] = None
            kind = kinds.setdefault((one.dtype_name, one.sizes), len(heads))
            if kind == len(heads):
                heads.append(plain_head(0, one.nbytes, one.dtype, one.sizes))
            rows.append((number, one.start, one.nbytes, kind))
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    return Whereabouts(list(names), list(found), table[:, 0], table[:, 1], table[:, 2], table[:, 3], heads)


def _head(index: MetadataIndex, place: Any, file: int, opened: OpenFiles, dtype: torch.dtype, size: torch.Size) -> Head | None:
    try:
        head = head_at(index, file, place, opened)
    except (UnusualItemError, SafetensorsError, OSError):
        return None
    return head if is_plain(head) and head.dtype == dtype and head.sizes == tuple(size) else None


def is_plain(head: Head) -> bool:
    """Whether the tensor fills its storage, row by row."""
    count = 1
    for size in head.sizes:
        count *= size
    filled = head.storage_offset == 0 and count > 0 and count * head.dtype.itemsize == head.storage_nbytes
    return filled and is_dense(head.sizes, head.strides)
