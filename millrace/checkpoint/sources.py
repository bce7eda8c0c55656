"""Checkpoints of any format as one thing: named tensors that can be read box by box, and other values by name."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.distributed._shard._utils import narrow_tensor_by_index
from torch.distributed.checkpoint._nested_dict import flatten_state_dict
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, Metadata, MetadataIndex, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, ReadItem
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list

from millrace.checkpoint.engine.coverage import covers
from millrace.checkpoint.engine.geometry import Box, copy_by_pieces
from millrace.checkpoint.engine.stalls import STALL_S, StalledRead
from millrace.checkpoint.engine.vector_io import Files
from millrace.checkpoint.formats.byte_items import refusal
from millrace.checkpoint.formats.safetensors_folder import is_safetensors_file
from millrace.checkpoint.one_load import ByteItems
from millrace.checkpoint.problems import CheckpointError
from millrace.checkpoint.reader import ParallelFileSystemReader
from millrace.checkpoint.whole_items import OneFile
from millrace.records.checkpoint import Problem


@dataclass
class Contents:
    """What a checkpoint holds."""

    tensors: dict[str, tuple[torch.dtype, tuple[int, ...]]]
    objects: list[str]
    """The names of the other values."""
    paths: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Where each name stands in the nested state dict; missing: at the top."""


class Source(Protocol):
    """A checkpoint to read from."""

    contents: Contents

    def read(self, name: str, offsets: Sequence[int], target: torch.Tensor) -> None:
        """Fill `target` with the box of its size at `offsets` of the tensor `name`."""

    def object(self, name: str) -> Any:
        """One of the other values. Raises CheckpointError, and Foreign where it needs classes outside `allow`."""

    def saved_object(self, name: str) -> bytes:
        """The same as `torch.save` writes it, without building it where that can be helped."""


class Foreign(CheckpointError):
    """A value needs classes outside `allow`."""


def open_source(
    path: Path,
    threads: int | None,
    *,
    byte_items: ByteItems = "skip",
    allow: tuple[type, ...] = (),
    stall_s: float | None = STALL_S,
    files: Files | None = None,
) -> Source:
    """A DCP or safetensors folder, or a `torch.save` file.

    Args:
        path: the checkpoint.
        threads: reading threads; None: from cores and bytes.
        byte_items: what becomes of values that need classes outside `allow`.
        allow: classes of the user's own.
        stall_s: how long one read may have no answer.
        files: how bytes are read; for tests.

    Raises:
        CheckpointError: it is none of these, or can't be read.
    """
    if path.is_file() and not is_safetensors_file(path):
        return TorchFile(path, byte_items == "trusted", allow, stall_s=stall_s, files=files)
    reader = ParallelFileSystemReader(
        path, threads=threads, byte_items="trusted", allow_globals=allow, stall_s=stall_s, files=files
    )
    return Folder(reader, byte_items, allow)


class _OneBox(DefaultLoadPlanner):
    """Puts what is asked for into one tensor."""

    def __init__(self, target: torch.Tensor) -> None:
        super().__init__()
        self.target = target

    def resolve_tensor(self, read_item: ReadItem) -> torch.Tensor:
        found: torch.Tensor = narrow_tensor_by_index(self.target, read_item.dest_offsets, read_item.lengths)
        return found

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        self.value = value.getvalue()


class Folder:
    """A DCP or safetensors folder, through the parallel reader."""

    def __init__(self, reader: ParallelFileSystemReader, byte_items: ByteItems, allow: tuple[type, ...]) -> None:
        self._reader = reader
        self._byte_items, self._allow = byte_items, allow
        self._metadata: Metadata = self._reader.read_metadata()
        self._reader.set_up_storage_reader(self._metadata, True)
        described = self._metadata.state_dict_metadata
        tensors = {
            name: (one.properties.dtype, tuple(one.size))
            for name, one in described.items()
            if isinstance(one, TensorStorageMetadata)
        }
        objects = [name for name in described if name not in tensors]
        self.contents = Contents(tensors, objects, dict(self._metadata.planner_data or {}))

    def read(self, name: str, offsets: Sequence[int], target: torch.Tensor) -> None:
        chunk = ChunkStorageMetadata(torch.Size(offsets), target.size())
        described = self._metadata.state_dict_metadata[name]
        assert isinstance(described, TensorStorageMetadata)
        items = create_read_items_for_chunk_list(name, described, [chunk])
        if not covers(described.chunks, offsets, target.size()):
            raise CheckpointError(str(self._reader.path), [Problem("not all of it is stored", tensor=name)])
        self._reader.read_data(LoadPlan(items), _OneBox(target))

    def object(self, name: str) -> Any:
        data = self.saved_object(name)
        found = None if self._byte_items == "trusted" else refusal(data, self._allow)
        if found is not None:
            kind = Foreign if found.kind == "foreign" else CheckpointError
            raise kind(str(self._reader.path), [Problem(found.why, tensor=name)])
        return torch.load(io.BytesIO(data), weights_only=False)

    def saved_object(self, name: str) -> bytes:
        index, nothing = MetadataIndex(name), torch.Size((0,))
        planner = _OneBox(torch.empty(0, device="cpu"))
        item = ReadItem(LoadItemType.BYTE_IO, index, nothing, index, nothing, nothing)
        self._reader.read_data(LoadPlan([item]), planner)
        return planner.value


class TorchFile:
    """A `torch.save` file: its tensors' bytes are found without reading them."""

    def __init__(
        self,
        path: Path,
        trusted: bool = False,
        allow: tuple[type, ...] = (),
        *,
        stall_s: float | None = STALL_S,
        files: Files | None = None,
    ) -> None:
        self._path = path
        self._file = OneFile(path, stall_s, files)
        try:
            loaded = self._file.read_with(lambda stream: _without_bytes(stream, trusted, allow))
        except StalledRead as stalled:
            raise CheckpointError(str(path), [Problem(str(stalled), stalled.file)]) from stalled
        except Exception as error:
            what = f"not a torch.save file that can be trusted: {type(error).__name__}: {str(error).splitlines()[0]}"
            raise CheckpointError(str(path), [Problem(what)]) from error
        if not isinstance(loaded, dict):
            raise CheckpointError(str(path), [Problem(f"holds a {type(loaded).__name__} and not a state dict")])
        flat, paths = flatten_state_dict(loaded)
        self._fakes = {name: value for name, value in flat.items() if isinstance(value, FakeTensor)}
        self._objects = {name: value for name, value in flat.items() if name not in self._fakes}
        tensors = {name: (fake.dtype, tuple(fake.shape)) for name, fake in self._fakes.items()}
        self.contents = Contents(tensors, list(self._objects), dict(paths))

    def read(self, name: str, offsets: Sequence[int], target: torch.Tensor) -> None:
        fake = self._fakes[name]
        base = fake.untyped_storage()._checkpoint_offset
        if base is None:
            raise CheckpointError(
                str(self._path), [Problem("its place in the file is unknown: an old torch.save format", tensor=name)]
            )
        strides = tuple(int(stride) for stride in fake.stride())
        start = int(fake.storage_offset()) + sum(offset * stride for offset, stride in zip(offsets, strides, strict=True))
        itemsize = fake.dtype.itemsize

        def fetch(first: int, count: int) -> torch.Tensor:
            data = self._file.read_at(count * itemsize, base + first * itemsize)
            if len(data) != count * itemsize:
                raise CheckpointError(str(self._path), [Problem("the file is cut short", tensor=name)])
            return torch.frombuffer(bytearray(data), dtype=torch.uint8).view(fake.dtype)

        if target.numel():
            try:
                copy_by_pieces(Box(start, tuple(target.size()), strides), target, fake.dtype, 8 << 20, fetch)
            except StalledRead as stalled:
                raise CheckpointError(str(self._path), [Problem(str(stalled), stalled.file, name)]) from stalled

    def object(self, name: str) -> Any:
        return self._objects[name]

    def saved_object(self, name: str) -> bytes:
        stream = io.BytesIO()
        torch.save(self._objects[name], stream)
        return stream.getvalue()


def _without_bytes(stream: IO[bytes], trusted: bool, allow: tuple[type, ...]) -> Any:
    with FakeTensorMode(), torch.serialization.safe_globals(list(allow)):
        return torch.load(stream, weights_only=not trusted, map_location="cpu")


def pieces_of(sizes: tuple[int, ...], itemsize: int, limit_nbytes: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Cut a tensor into boxes of at most `limit_nbytes` bytes that follow each other in row-major order: (offsets, sizes)."""
    total = itemsize
    for size in sizes:
        total *= size
    if total <= limit_nbytes or not sizes:
        yield (0,) * len(sizes), sizes
        return
    row = total // sizes[0]
    if row <= limit_nbytes:
        step = max(1, limit_nbytes // row)
        for low in range(0, sizes[0], step):
            yield (low, *(0,) * (len(sizes) - 1)), (min(step, sizes[0] - low), *sizes[1:])
        return
    for low in range(sizes[0]):
        for offsets, inner in pieces_of(sizes[1:], itemsize, limit_nbytes):
            yield (low, *offsets), (1, *inner)
