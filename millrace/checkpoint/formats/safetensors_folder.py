"""Reads a folder of safetensors files (as the Hugging Face hub has them, or torch's distributed writer) as a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from millrace.checkpoint.engine.gc_pause import gc_paused
from millrace.checkpoint.engine.read_plan import SafetensorsItem
from millrace.checkpoint.engine.vector_io import Files
from millrace.checkpoint.formats.safetensors_format import SafetensorsError, SafetensorsHeader, header_length, parse_header
from millrace.checkpoint.problems import CheckpointError
from millrace.records.checkpoint import Problem

INDEX_NAME = "model.safetensors.index.json"


def is_safetensors_file(path: Path) -> bool:
    """Whether a checkpoint is a single file of this format."""
    return path.suffix == ".safetensors" and path.is_file()


def names_in_index(data: bytes, where: str) -> list[str]:
    """The files that an index names, sorted.

    Raises:
        CheckpointError: it is damaged, or names a file outside the folder.
    """
    try:
        names = sorted(set(json.loads(data)["weight_map"].values()))
        outside = [
            name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name
        ]
    except (RecursionError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(where, [Problem(f"damaged: {type(error).__name__}: {error}", INDEX_NAME)]) from error
    if outside:
        raise CheckpointError(where, [Problem(f"names a file outside the checkpoint: {outside[0]!r}", INDEX_NAME)])
    return names


def folder_metadata(folder: Path | str, files: Files, names: Sequence[str]) -> Metadata:
    """What torch's planners need to know of safetensors files, from their headers.

    Args:
        folder: where they are; a URL as a string.
        files: how bytes are read.
        names: the files' names.

    Raises:
        CheckpointError: naming every file that is missing, cut short, too long or damaged.
    """
    problems: list[Problem] = []
    tensors: dict[str, TensorStorageMetadata] = {}
    storage: dict[MetadataIndex, SafetensorsItem] = {}
    with gc_paused():
        for name in names:
            try:
                header, size = header_of(folder / name if isinstance(folder, Path) else f"{folder.rstrip('/')}/{name}", files)
            except FileNotFoundError:
                problems.append(Problem("the file is missing", name))
                continue
            except (OSError, SafetensorsError) as error:
                problems.append(Problem(f"cannot be read: {error}", name))
                continue
            if header.nbytes > size:
                problems.append(Problem(f"the file ends at byte {size}, its tensors need {header.nbytes}", name))
            elif header.nbytes < size:
                problems.append(
                    Problem(f"{size - header.nbytes} bytes follow its tensors, which end at byte {header.nbytes}", name)
                )
            _add(name, header, tensors, storage, problems)
    if problems:
        raise CheckpointError(str(folder), problems)
    return Metadata(state_dict_metadata=dict(tensors), storage_data=storage)


def header_of(path: Path | str, files: Files) -> tuple[SafetensorsHeader, int]:
    """A file's header and its length in bytes. Raises OSError, SafetensorsError."""
    handle = files.open(path)
    try:
        length = header_length(files.read_at(handle, 8, 0))
        size = files.size(handle)
        if 8 + length > size:
            raise SafetensorsError(f"the file ends at byte {size}, inside its header")
        return parse_header(files.read_at(handle, length, 8)), size
    finally:
        files.close(handle)


def _add(
    file: str,
    header: SafetensorsHeader,
    tensors: dict[str, TensorStorageMetadata],
    storage: dict[MetadataIndex, SafetensorsItem],
    problems: list[Problem],
) -> None:
    for name, one in header.tensors.items():
        chunk = ChunkStorageMetadata(torch.Size(one.offsets), torch.Size(one.sizes))
        reach = [offset + size for offset, size in zip(one.offsets, one.sizes, strict=True)]
        index = MetadataIndex(name, one.offsets)
        described = tensors.get(name)
        dtype = one.dtype or torch.uint8  # the metadata needs one; whoever asks for the tensor is told
        if index in storage:
            problems.append(Problem(f"stands in {storage[index].relative_path} too", file, name))
            continue
        if described is None:
            tensors[name] = TensorStorageMetadata(TensorProperties(dtype=dtype), torch.Size(reach), [chunk])
        elif len(described.size) != len(reach) or described.properties.dtype != dtype:
            problems.append(Problem("its shards differ in dtype or number of dimensions", file, name))
            continue
        else:
            described.chunks.append(chunk)
            described.size = torch.Size(max(pair) for pair in zip(described.size, reach, strict=True))
        storage[index] = SafetensorsItem(file, one.start, one.nbytes, one.dtype, one.dtype_name, one.sizes)
