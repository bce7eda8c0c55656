"""Reads a folder of safetensors files (as the Hugging Face hub has them, or torch's distributed writer) as a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

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
from millrace.checkpoint.engine.vector_io import Files, read_regular
from millrace.checkpoint.formats.safetensors_format import SafetensorsError, SafetensorsHeader, header_length, parse_header
from millrace.checkpoint.problems import CheckpointError, Problem

INDEX_NAME = "model.safetensors.index.json"


def safetensors_files(folder: Path) -> list[str]:
    """The names of a folder's safetensors files, sorted; those of the index where there is one.

    Raises:
        CheckpointError: the index is damaged.
    """
    if not folder.is_dir():
        return []
    index = folder / INDEX_NAME
    if not index.exists():
        return sorted(path.name for path in folder.glob("*.safetensors"))
    try:
        return sorted(set(json.loads(read_regular(index))["weight_map"].values()))
    except (OSError, RecursionError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(str(folder), [Problem(f"damaged: {error}", INDEX_NAME)]) from error


def folder_metadata(folder: Path, files: Files) -> Metadata:
    """What torch's planners need to know of a safetensors folder, from the files' headers.

    Raises:
        CheckpointError: naming every file that is missing, cut short or damaged.
    """
    problems: list[Problem] = []
    tensors: dict[str, TensorStorageMetadata] = {}
    storage: dict[MetadataIndex, SafetensorsItem] = {}
    with gc_paused():
        for name in safetensors_files(folder):
            try:
                header, size = _header_of(folder / name, files)
            except FileNotFoundError:
                problems.append(Problem("the file is missing", name))
                continue
            except (OSError, SafetensorsError) as error:
                problems.append(Problem(f"cannot be read: {error}", name))
                continue
            if header.nbytes > size:
                problems.append(Problem(f"the file ends at byte {size}, its tensors need {header.nbytes}", name))
            _add(name, header, tensors, storage, problems)
    if problems:
        raise CheckpointError(str(folder), problems)
    return Metadata(state_dict_metadata=dict(tensors), storage_data=storage)


def _header_of(path: Path, files: Files) -> tuple[SafetensorsHeader, int]:
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
        if index in storage:
            problems.append(Problem(f"stands in {storage[index].relative_path} too", file, name))
            continue
        if described is None:
            tensors[name] = TensorStorageMetadata(TensorProperties(dtype=one.dtype), torch.Size(reach), [chunk])
        elif len(described.size) != len(reach) or described.properties.dtype != one.dtype:
            problems.append(Problem("its shards differ in dtype or number of dimensions", file, name))
            continue
        else:
            described.chunks.append(chunk)
            described.size = torch.Size(max(pair) for pair in zip(described.size, reach, strict=True))
        storage[index] = SafetensorsItem(file, one.start, one.nbytes, one.dtype, one.sizes)
