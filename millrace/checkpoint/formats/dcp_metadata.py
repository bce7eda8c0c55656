"""Reads `.metadata`, which is a pickle, without letting it run code.

Torch's own reader unpickles the file without restriction, so whoever can write a checkpoint can run commands as whoever loads
it. Here only the classes that torch itself writes into that file are found; everything else is refused.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from torch.distributed.checkpoint import filesystem
from torch.distributed.checkpoint import metadata as records
from torch.distributed.checkpoint.metadata import Metadata

from millrace.checkpoint.engine.gc_pause import gc_paused
from millrace.checkpoint.formats.pickle_scan import excess_in
from millrace.checkpoint.problems import CheckpointError, Problem, UntrustedCheckpoint

_CLASSES: dict[tuple[str, str], type] = {
    (kind.__module__, kind.__name__): kind
    for kind in (
        records.Metadata,
        records.MetadataIndex,
        records.ChunkStorageMetadata,
        records.TensorStorageMetadata,
        records.BytesStorageMetadata,
        records.TensorProperties,
        records.StorageMeta,
        records._MEM_FORMAT_ENCODING,
        filesystem._StorageInfo,
    )
}
"""What a checkpoint's metadata is made of. All are records without behaviour on construction."""

MOST_DIMENSIONS = 64
"""Of a tensor; torch's own limit."""
_OLD_HOME = "torch.distributed._shard.sharded_tensor.metadata"
"""Where torch before 2.3 kept `TensorProperties` and its memory format enum."""


def _layout(name: str) -> torch.layout:
    layout = getattr(torch, name.removeprefix("torch."), None)
    if not isinstance(layout, torch.layout):
        raise pickle.UnpicklingError(f"'{name}' is not a layout")
    return layout


def _path_factory(kind: type[PurePath]) -> Callable[..., PurePath]:
    def path(*parts: str) -> PurePath:
        return kind(*parts)

    return path


def _constructors() -> dict[tuple[str, str], Any]:
    """Fresh functions in place of everything that isn't one of torch's records: a pickle can't change what it can't reach."""

    def size(values: Any = ()) -> torch.Size:
        if len(values) > MOST_DIMENSIONS:
            raise pickle.UnpicklingError(f"a size of {len(values)} dimensions")
        return torch.Size(values)

    def layout(name: str) -> torch.layout:
        return _layout(name)

    posix, windows = _path_factory(PurePosixPath), _path_factory(PureWindowsPath)
    found: dict[tuple[str, str], Any] = {
        ("torch", "Size"): size,
        ("torch.serialization", "_get_layout"): layout,
        ("builtins", "set"): set,
        ("builtins", "frozenset"): frozenset,
        ("collections", "OrderedDict"): __import__("collections").OrderedDict,
    }
    for module in ("pathlib", "pathlib._local"):
        found[module, "PosixPath"] = found[module, "PurePosixPath"] = posix
        found[module, "WindowsPath"] = found[module, "PureWindowsPath"] = windows
    for name in ("TensorProperties", "MEM_FORMAT_ENCODING"):
        home = getattr(__import__(_OLD_HOME, fromlist=[name]), name, None)
        if isinstance(home, type):
            found[_OLD_HOME, name] = home
    return found


class _RestrictedUnpickler(pickle.Unpickler):
    """Finds nothing but the allowed names. The C unpickler underneath keeps its speed: names are looked up once each."""

    def __init__(self, stream: io.BufferedIOBase, extra: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(stream)
        self._allowed = {**_constructors(), **_CLASSES, **extra}

    def find_class(self, module: str, name: str) -> Any:
        found = self._allowed.get((module, name))
        if found is None and module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            found = getattr(torch, name)
        if found is None:
            raise _Refused(f"{module}.{name}")
        return found


class _Refused(pickle.UnpicklingError):
    """A pickle named something outside the allow-list."""


def read_metadata(stream: io.BufferedIOBase, *, where: str, file: str = ".metadata", allow: tuple[type, ...] = ()) -> Metadata:
    """Unpickle a checkpoint's metadata.

    Covers: a pickle that names anything but the records torch writes (refused, nothing run), one that tries to change those
    classes themselves (undone, refused), one cut short or damaged, one with a memo index or a length out of proportion.
    Does not cover: damage that leaves a well-formed pickle with other numbers in it; a sealed checkpoint
    (`flows.checkpoint verify`) detects that too. Nor a hostile one that copies the same long collection again and again.

    Args:
        stream: the open file.
        where: the checkpoint, for messages.
        file: the file's name inside it, for messages.
        allow: further classes that a planner of the user's own stored in `planner_data`.

    Raises:
        UntrustedCheckpoint: the pickle names something outside the allow-list.
        CheckpointError: it can't be read, or holds something other than a checkpoint's metadata.
    """
    extra = {(kind.__module__, kind.__qualname__): kind for kind in allow}
    data = stream.read()
    if excess := excess_in(data):
        raise CheckpointError(where, [Problem(f"damaged: {excess}, in a pickle of {len(data)} bytes", file)])
    with gc_paused(), _classes_unchanged() as changed:
        try:
            found = _RestrictedUnpickler(io.BytesIO(data), extra).load()
        except _Refused as refused:
            hint = "if it is yours, pass its class in allow_globals=(...)"
            problem = Problem(
                f"its pickle asks for '{refused}', which no checkpoint needs: refused, nothing was run; {hint}", file
            )
            raise UntrustedCheckpoint(where, [problem]) from None
        except Exception as error:  # a damaged pickle can raise anything
            raise CheckpointError(where, [Problem(f"damaged: {type(error).__name__}: {error}", file)]) from error
    if changed:
        raise UntrustedCheckpoint(where, [Problem(f"its pickle tries to change the class {changed[0]}: refused", file)])
    wrong = _problem_with(found)
    if wrong:
        raise CheckpointError(where, [Problem(wrong, file)])
    return found  # type: ignore[no-any-return]


def _problem_with(found: Any) -> str | None:
    if type(found) is not Metadata:
        return f"holds a {type(found).__name__} and not a checkpoint's metadata"
    if not isinstance(getattr(found, "state_dict_metadata", None), dict):
        return "lists no state dict"
    if not isinstance(getattr(found, "storage_data", None), dict):
        return "does not say where anything is stored"
    return None


@contextmanager
def _classes_unchanged() -> Iterator[list[str]]:
    """Put back any attribute that a pickle's BUILD opcode set on one of the allowed classes, and name the class."""
    before = {kind: dict(vars(kind)) for kind in _CLASSES.values()}
    changed: list[str] = []
    try:
        yield changed
    finally:
        for kind, attributes in before.items():
            now = dict(vars(kind))
            if now.keys() == attributes.keys() and all(now[key] is attributes[key] for key in now):
                continue
            changed.append(kind.__name__)
            for key in now.keys() - attributes.keys():
                delattr(kind, key)
            for key, value in attributes.items():
                if now.get(key) is not value:
                    setattr(kind, key, value)
