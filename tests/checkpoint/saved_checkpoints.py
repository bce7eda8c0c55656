"""Checkpoints for the tests, written by torch itself, and tensors cut into arbitrary boxes."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType

Box = tuple[tuple[int, ...], tuple[int, ...]]
"""Offsets and sizes of a part of a tensor."""


class CutTensor(torch.Tensor):
    """A whole tensor that tells torch's planners it consists of `boxes`: random sharding plans without any processes."""

    boxes: list[Box]

    @staticmethod
    def of(whole: torch.Tensor, boxes: Sequence[Box]) -> CutTensor:
        cut = torch.Tensor._make_subclass(CutTensor, whole)
        cut.boxes = list(boxes)
        return cut

    def __create_write_items__(self, fqn: str, _: object) -> list[WriteItem]:
        return [
            WriteItem(
                MetadataIndex(fqn, torch.Size(offsets)),
                WriteItemType.SHARD,
                tensor_data=TensorWriteData(
                    ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes)), TensorProperties(dtype=self.dtype), self.size()
                ),
            )
            for offsets, sizes in self.boxes
        ]

    def __create_chunk_list__(self) -> list[ChunkStorageMetadata]:
        return [ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes)) for offsets, sizes in self.boxes]

    def __get_tensor_shard__(self, index: MetadataIndex) -> torch.Tensor:
        (box,) = (box for box in self.boxes if torch.Size(box[0]) == index.offset)
        part = self.as_subclass(torch.Tensor)
        for dimension, (offset, size) in enumerate(zip(*box, strict=True)):
            part = part.narrow(dimension, offset, size)
        return part


def save(state: dict[str, Any], path: Path, **options: Any) -> Path:
    """Write a checkpoint with torch's own writer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(state, storage_writer=dcp.FileSystemWriter(path, sync_files=False, **options))
    return path


def load(state: dict[str, Any], reader: Any, **options: Any) -> dict[str, Any]:
    """`dcp.load`, without its remark about running in one process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.load(state, storage_reader=reader, **options)
    return state


def cause_of(error: BaseException) -> BaseException:
    """What a rank raised, out of torch's `CheckpointException`."""
    failures = getattr(error, "failures", None)
    return failures[0][0] if failures else error


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Bit for bit, NaN included."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    left, right = left.detach().as_subclass(torch.Tensor), right.detach().as_subclass(torch.Tensor)
    raw = [one.clone(memory_format=torch.contiguous_format).view(-1).view(torch.uint8) for one in (left, right)]
    return torch.equal(*raw)


def assert_equal(left: Any, right: Any) -> None:
    """Nested states, tensors bit for bit."""
    if isinstance(left, torch.Tensor):
        assert same(left.resolve_conj(), right.resolve_conj())
    elif isinstance(left, dict):
        assert list(left) == list(right)
        for key, one in left.items():
            assert_equal(one, right[key])
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_equal(one, other)
    else:
        assert type(left) is type(right)


def filled(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    """Random bytes seen as `dtype`: infinities, NaNs and all."""
    generator = torch.Generator().manual_seed(seed)
    count = 1
    for size in shape:
        count *= size
    if dtype == torch.bool:
        return torch.randint(0, 2, shape, generator=generator, dtype=torch.uint8).to(torch.bool)
    raw = torch.randint(0, 256, (count * dtype.itemsize,), dtype=torch.uint8, generator=generator)
    return raw.view(dtype).reshape(shape) if count else torch.empty(shape, dtype=dtype)


def write_items(folder: Path, items: Sequence[tuple[str, Any, Any]]) -> Path:
    """A checkpoint as a foreign writer makes it: `torch.save` of what is given, described as something else where that is asked.

    Args:
        folder: the new checkpoint.
        items: (name, the value to save, offsets and sizes and full size, or None for a whole tensor).
    """
    folder.mkdir(parents=True, exist_ok=True)
    described: dict[str, Any] = {}
    storage: dict[Any, Any] = {}
    data = b""
    for name, value, cut in items:
        stream = io.BytesIO()
        torch.save(value, stream)
        offsets, sizes, full = cut or ((0,) * value.dim(), tuple(value.shape), tuple(value.shape))
        one = described.setdefault(name, TensorStorageMetadata(TensorProperties(dtype=value.dtype), torch.Size(full), []))
        index = MetadataIndex(name, torch.Size(offsets), len(one.chunks))
        one.chunks.append(ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes)))
        storage[index] = _StorageInfo("__0_0.distcp", len(data), len(stream.getvalue()))
        data += stream.getvalue()
    (folder / "__0_0.distcp").write_bytes(data)
    (folder / ".metadata").write_bytes(pickle.dumps(Metadata(described, {}, storage)))
    return folder
