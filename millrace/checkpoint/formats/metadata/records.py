"""What a checkpoint's metadata is made of: torch's own records, and the names, calls and containers that its pickle may use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from torch.distributed.checkpoint import filesystem
from torch.distributed.checkpoint import metadata as records

from millrace.checkpoint.formats.pickle_machine import MalformedPickle, Symbol

MOST_DIMENSIONS = 64
"""Of a tensor; torch's own limit."""
MOST_PATH_PARTS = 256
ENUM = records._MEM_FORMAT_ENCODING
RECORDS: dict[tuple[str, str], type] = {
    (kind.__module__, kind.__name__): kind
    for kind in (
        records.Metadata,
        records.MetadataIndex,
        records.ChunkStorageMetadata,
        records.TensorStorageMetadata,
        records.BytesStorageMetadata,
        records.TensorProperties,
        records.StorageMeta,
        filesystem._StorageInfo,
    )
}
"""What a checkpoint's metadata is made of."""
_OLD_HOME = "torch.distributed._shard.sharded_tensor.metadata"
"""Where torch before 2.3 kept `TensorProperties` and its memory format enum."""


def _old_homes() -> tuple[dict[tuple[str, str], type], tuple[type, ...]]:
    home = __import__(_OLD_HOME, fromlist=["TensorProperties"])
    kinds = {name: getattr(home, name, None) for name in ("TensorProperties", "MEM_FORMAT_ENCODING")}
    found = {(_OLD_HOME, name): kind for name, kind in kinds.items() if isinstance(kind, type)}
    return found, tuple(kind for (_, name), kind in found.items() if name == "TensorProperties")


_OLD, _OLD_PROPERTIES = _old_homes()
PROPERTIES = (records.TensorProperties, *_OLD_PROPERTIES)
ENUMS = {(ENUM.__module__, ENUM.__name__): ENUM} | {key: kind for key, kind in _OLD.items() if kind not in PROPERTIES}
CLASSES = RECORDS | {key: kind for key, kind in _OLD.items() if kind in PROPERTIES}
KNOWN = set(CLASSES.values())


def shape_of(values: Any) -> torch.Size:
    """A shape or offset, of whole numbers that torch can hold."""
    if not isinstance(values, (tuple, list)) or len(values) > MOST_DIMENSIONS:
        raise MalformedPickle("a shape that is no short list of numbers")
    if not all(type(one) is int and 0 <= one < 1 << 62 for one in values):
        raise MalformedPickle("a shape that is not of whole numbers")
    return torch.Size(values)


def _layout(name: Any) -> torch.layout:
    layout = getattr(torch, name.removeprefix("torch."), None) if isinstance(name, str) else None
    if not isinstance(layout, torch.layout):
        raise MalformedPickle("a layout that torch does not have")
    return layout


def _path(kind: type[PurePath]) -> Callable[..., PurePath]:
    def path(*parts: str) -> PurePath:
        if len(parts) > MOST_PATH_PARTS or not all(isinstance(part, str) for part in parts):
            raise MalformedPickle("a path that is not of names")
        return kind(*parts)

    return path


def _functions() -> dict[tuple[str, str], Callable[..., Any]]:
    found: dict[tuple[str, str], Callable[..., Any]] = {
        ("torch", "Size"): lambda values=(): shape_of(values),
        ("torch.serialization", "_get_layout"): _layout,
    }
    for module in ("pathlib", "pathlib._local"):
        found[module, "PosixPath"] = found[module, "PurePosixPath"] = _path(PurePosixPath)
        found[module, "WindowsPath"] = found[module, "PureWindowsPath"] = _path(PureWindowsPath)
    return found


FUNCTIONS = _functions()
CONTAINERS = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "list"): list,
    ("builtins", "dict"): dict,
    ("builtins", "tuple"): tuple,
}


def record_of(value: Any) -> type | None:
    return CLASSES.get((value.module, value.name)) if type(value) is Symbol else None


def give_properties(made: Any, state: Any) -> None:
    if not isinstance(state, tuple) or len(state) != 5 or type(state[3]) not in ENUMS.values():
        raise MalformedPickle("tensor properties that are not five values")
    try:
        made.__setstate__(state)
    except RuntimeError as error:
        raise MalformedPickle("tensor properties of an unknown memory format") from error
