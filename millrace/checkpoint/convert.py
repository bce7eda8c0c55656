"""Writes a checkpoint in another format, a piece at a time, all or nothing.

The result is made beside its place under a name of its own and renamed when it is complete and synced: a stopped conversion
leaves no half checkpoint, and never more than `piece_mb` of tensors is in memory.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, cast

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.checkpoint._nested_dict import unflatten_state_dict
from torch.distributed.checkpoint.filesystem import CURRENT_DCP_VERSION, _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from typing_extensions import Buffer

from millrace.checkpoint.conversion_checks import check_output, check_source
from millrace.checkpoint.engine.stalls import STALL_S
from millrace.checkpoint.engine.vector_io import Files
from millrace.checkpoint.formats.archive_sums import write_sums
from millrace.checkpoint.formats.crc import crc32
from millrace.checkpoint.formats.safetensors_folder import INDEX_NAME
from millrace.checkpoint.formats.safetensors_format import NAMES, build_header
from millrace.checkpoint.one_load import ByteItems
from millrace.checkpoint.settings import ConvertSettings
from millrace.checkpoint.sources import Foreign, Source, open_source, pieces_of
from millrace.errors import InputError, UsageError
from millrace.records.checkpoint import Conversion
from millrace.run.journal import sync_folder

Tensors = dict[str, tuple[torch.dtype, tuple[int, ...]]]


def convert_checkpoint(
    path: Path,
    settings: ConvertSettings,
    *,
    threads: int | None = None,
    byte_items: ByteItems = "skip",
    allow: tuple[type, ...] = (),
    stall_s: float | None = STALL_S,
    on_progress: Callable[[int, int], None] | None = None,
    files: Files | None = None,
) -> Conversion:
    """Convert the checkpoint at `path` as `settings` say.

    Args:
        path: the source.
        settings: what to make of it.
        threads: reading threads; None: from cores and bytes.
        byte_items: what becomes of values that need classes outside `allow`.
        allow: classes of the user's own.
        stall_s: how long one read may have no answer.
        on_progress: called as `(done, total)` in bytes.
        files: how the source's bytes are read; for tests.

    Raises:
        UsageError: no destination, or there is something already. InputError: the source can't be read or doesn't fit the
            format.
    """
    if settings.to is None:
        raise UsageError("convert needs a destination: --set convert.to=PATH")
    if settings.to.exists():
        raise UsageError(f"{settings.to} exists already; choose another --set convert.to=PATH")
    if settings.check != "none":
        check_source(path, settings.check, threads, stall_s, files)
    source = open_source(path, threads, byte_items=byte_items, allow=allow, stall_s=stall_s, files=files)
    wanted = getattr(torch, settings.dtype) if settings.dtype else None
    tensors = {
        name: (wanted if wanted is not None and dtype.is_floating_point else dtype, sizes)
        for name, (dtype, sizes) in source.contents.tensors.items()
    }
    dropped = _dropped(source, tensors, settings, byte_items)
    total = sum(prod(sizes) * dtype.itemsize for dtype, sizes in tensors.values())
    progress = _Pieces(source, tensors, settings.piece_mb << 20, total, on_progress)
    progress.dropped = dropped
    write = {"dcp": _write_dcp, "safetensors": _write_safetensors, "torch_save": _write_torch_file}[settings.format]
    with _beside(settings.to) as place:
        written = write(place, progress, settings)
        check_output(place, settings.to, progress.tensors, progress.sums, settings.piece_mb << 20, stall_s)
    return Conversion(tensors=len(tensors), bytes=total, files=written, dropped=dropped)


def _dropped(source: Source, tensors: Tensors, settings: ConvertSettings, byte_items: ByteItems) -> list[str]:
    if settings.format == "dcp":
        return []
    if settings.format == "torch_save":
        return _foreign(source) if byte_items == "skip" else []
    strange = sorted(f"{name} ({dtype})" for name, (dtype, _) in tensors.items() if dtype not in NAMES)
    if strange:
        raise InputError(
            f"safetensors has no name for the dtype of {', '.join(strange[:5])}; set convert.dtype or another format"
        )
    objects = sorted(source.contents.objects)
    if objects and settings.objects == "refuse":
        said = ", ".join(objects[:5]) + (f" and {len(objects) - 5} more" if len(objects) > 5 else "")
        raise InputError(
            f"safetensors holds tensors only and the checkpoint has {said}; --set convert.objects=drop leaves them out"
        )
    return objects


def _foreign(source: Source) -> list[str]:
    """The values that need code or classes outside `allow` to be built; only `torch_save` has to build them."""
    found = []
    for name in source.contents.objects:
        try:
            source.object(name)
        except Foreign:
            found.append(name)
    return found


class _Pieces:
    """Tensors as consecutive pieces, cast and ready to be written."""

    def __init__(
        self, source: Source, tensors: Tensors, limit: int, total: int, on_progress: Callable[[int, int], None] | None
    ) -> None:
        self.source, self.tensors, self.limit, self.total = source, tensors, limit, total
        self.dropped: list[str] = []
        self.sums = dict.fromkeys(tensors, 0)
        """CRC-32 of each tensor's elements in row-major order, as they were handed over."""
        self._on_progress = on_progress
        self._done = 0

    def of(self, name: str, low: int = 0, high: int | None = None) -> Iterator[tuple[tuple[int, ...], torch.Tensor]]:
        """The rows `low` to `high` of a tensor, row-major, as (offsets, piece); `limit` bounds saved and cast bytes together."""
        dtype, sizes = self.tensors[name]
        saved = self.source.contents.tensors[name][0]
        if sizes:
            sizes = ((sizes[0] if high is None else high) - low, *sizes[1:])
        if 0 in sizes:
            return
        width = dtype.itemsize + (saved.itemsize if saved != dtype else 0)
        for offsets, inner in pieces_of(sizes, width, self.limit):
            piece = torch.empty(inner, dtype=saved)
            at = (offsets[0] + low, *offsets[1:]) if offsets else ()
            self.source.read(name, at, piece)
            piece = piece.to(dtype)
            self.sums[name] = crc32(_bytes_of(piece), self.sums[name])
            yield at, piece
            self._done += piece.nbytes
            if self._on_progress is not None:
                self._on_progress(self._done, self.total)


def _bytes_of(piece: torch.Tensor) -> memoryview:
    return memoryview(cast(Buffer, piece.reshape(-1).view(torch.uint8).numpy()))


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    place = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield place
        if place.is_dir():
            sync_folder(place)
        place.rename(target)
        sync_folder(target.parent)
    finally:
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)


@contextmanager
def _synced(path: Path, mode: str = "wb") -> Iterator[Any]:
    with path.open(mode) as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def _write_safetensors(place: Path, pieces: _Pieces, settings: ConvertSettings) -> int:
    groups: list[list[str]] = [[]]
    size = 0
    for name, (dtype, sizes) in pieces.tensors.items():
        nbytes = prod(sizes) * dtype.itemsize
        if groups[-1] and size + nbytes > settings.max_file_gb * 1e9:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += nbytes
    place.mkdir()
    names = (
        ["model.safetensors"]
        if len(groups) == 1
        else [f"model-{number:05}-of-{len(groups):05}.safetensors" for number in range(1, len(groups) + 1)]
    )
    for file, group in zip(names, groups, strict=True):
        with _synced(place / file) as stream:
            stream.write(build_header({name: pieces.tensors[name] for name in group}, {"format": "pt"}))
            for name in group:
                for _, piece in pieces.of(name):
                    stream.write(_bytes_of(piece))
    if len(groups) > 1:
        weights = {name: file for file, group in zip(names, groups, strict=True) for name in group}
        index = {"metadata": {"total_size": pieces.total}, "weight_map": weights}
        with _synced(place / INDEX_NAME) as stream:
            stream.write(json.dumps(index, indent=2, ensure_ascii=False).encode())
    return len(groups)


def _write_dcp(place: Path, pieces: _Pieces, settings: ConvertSettings) -> int:
    """As so many ranks would have saved it. Items larger than a piece are cut further: a loader doesn't mind."""
    place.mkdir()
    described: dict[str, Any] = {}
    storage: dict[MetadataIndex, _StorageInfo] = {}
    for shard in range(settings.shards):
        file = f"__{shard}_0.distcp"
        with _synced(place / file) as stream:
            if shard == 0:
                for name in pieces.source.contents.objects:
                    described[name] = BytesStorageMetadata()
                    _save_item(pieces.source.saved_object(name), stream, file, MetadataIndex(name), storage)
            for name, (dtype, sizes) in pieces.tensors.items():
                one = described.setdefault(name, TensorStorageMetadata(TensorProperties(dtype=dtype), torch.Size(sizes), []))
                low, high = _rows(sizes, shard, settings.shards)
                if low is None or (0 in sizes and shard):
                    continue
                if 0 in sizes:
                    _save_chunk(torch.empty(sizes, dtype=dtype), (0,) * len(sizes), one, name, stream, file, storage)
                for at, piece in pieces.of(name, low, high):
                    _save_chunk(piece, at, one, name, stream, file, storage)
    paths = pieces.source.contents.paths
    metadata = Metadata(
        described,
        planner_data={name: paths.get(name, (name,)) for name in described},
        storage_data=storage,
        storage_meta=StorageMeta(),
        version=CURRENT_DCP_VERSION,
    )
    with _synced(place / ".metadata") as stream:
        pickle.dump(metadata, stream)
    return settings.shards


def _rows(sizes: tuple[int, ...], shard: int, shards: int) -> tuple[int | None, int]:
    """The rows of a tensor that a shard holds, as torch chunks them; (None, 0): none."""
    if not sizes:
        return (0, 1) if shard == 0 else (None, 0)
    step = -(-sizes[0] // shards)
    low, high = min(shard * step, sizes[0]), min((shard + 1) * step, sizes[0])
    return (low, high) if low < high or (sizes[0] == 0 and shard == 0) else (None, 0)


def _save_chunk(
    piece: torch.Tensor,
    offsets: tuple[int, ...],
    one: TensorStorageMetadata,
    name: str,
    stream: Any,
    file: str,
    storage: dict[MetadataIndex, _StorageInfo],
) -> None:
    index = MetadataIndex(name, offsets, len(one.chunks))
    one.chunks.append(ChunkStorageMetadata(torch.Size(offsets), piece.size()))
    _save_item(piece, stream, file, index, storage)


def _save_item(
    value: torch.Tensor | bytes, stream: Any, file: str, index: MetadataIndex, storage: dict[MetadataIndex, _StorageInfo]
) -> None:
    offset = stream.tell()
    if isinstance(value, bytes):
        stream.write(value)
    else:
        torch.save(value, stream)
    storage[index] = _StorageInfo(file, offset, stream.tell() - offset)


def _write_torch_file(place: Path, pieces: _Pieces, settings: ConvertSettings) -> int:
    """First a file with room for every storage (`skip_data`), then the bytes into their places."""
    with FakeTensorMode():
        fakes = {name: torch.empty(sizes, dtype=dtype) for name, (dtype, sizes) in pieces.tensors.items()}
    kept = [name for name in pieces.source.contents.objects if name not in pieces.dropped]
    flat = {**fakes, **{name: pieces.source.object(name) for name in kept}}
    paths = pieces.source.contents.paths
    state = unflatten_state_dict(flat, {name: paths.get(name, (name,)) for name in flat})
    with torch.serialization.skip_data(materialize_fake_tensors=True):
        torch.save(state, place)
    with FakeTensorMode(), place.open("rb") as stream:
        loaded = torch.load(stream, weights_only=False)
    starts: dict[int, str] = {}
    with _synced(place, "r+b") as stream:
        for name in pieces.tensors:
            found: Any = loaded
            for key in paths.get(name, (name,)):
                found = found[key]
            position = found.untyped_storage()._checkpoint_offset
            starts[position] = name
            for _, piece in pieces.of(name):
                data = _bytes_of(piece)
                if os.pwrite(stream.fileno(), data, position) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))
                position += len(data)
    write_sums(place, {start: pieces.sums[name] for start, name in starts.items()})
    return 1
