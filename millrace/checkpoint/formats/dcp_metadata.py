"""Reads `.metadata`, which is a pickle, without the unpickler, and checks that it is what its format says.

Torch's own reader unpickles the file without restriction, so whoever can write a checkpoint can run commands as whoever loads
it. Here the records that torch writes into that file are built from its bytes; everything else is refused.
"""

from __future__ import annotations

import io
from pathlib import PurePath
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorStorageMetadata,
)

from millrace.checkpoint.engine.gc_pause import gc_paused
from millrace.checkpoint.formats.metadata_pickle import MetadataMachine
from millrace.checkpoint.formats.pickle_machine import ForbiddenName, MalformedPickle
from millrace.checkpoint.problems import CheckpointError, UntrustedCheckpoint
from millrace.records.checkpoint import Problem

MOST_HEIGHT = 100
"""Containers within each other in `planner_data`, which holds the names on the way to each value."""
MOST_BYTES = 1 << 62
"""Of an offset or length: what the system calls take."""


def read_metadata(stream: io.BufferedIOBase, *, where: str, file: str = ".metadata", allow: tuple[type, ...] = ()) -> Metadata:
    """Read a checkpoint's metadata.

    Covers: a pickle that names anything but the records torch writes (refused, nothing run), one cut short or damaged, one made
    to take memory or time out of proportion to its length, fields of a wrong type. Does not cover: damage that leaves a
    well-formed pickle with other numbers in it; a sealed checkpoint (`flows.checkpoint verify`) detects that too.

    Args:
        stream: the open file.
        where: the checkpoint, for messages.
        file: the file's name inside it, for messages.
        allow: further classes that a planner of the user's own stored in `planner_data`; these are called as by the unpickler.

    Raises:
        UntrustedCheckpoint: the pickle names something outside the allow-list.
        CheckpointError: it can't be read, or holds something other than a checkpoint's metadata.
    """
    data = stream.read()
    with gc_paused():
        try:
            machine = MetadataMachine(data, {(kind.__module__, kind.__qualname__): kind for kind in allow})
            found = machine.run()
            _check(found, len(data), allow, machine.sound)
        except ForbiddenName as refused:
            hint = "if it is yours, pass its class in allow_globals=(...)"
            problem = Problem(f"its pickle {refused}: refused, nothing was run; {hint}", file)
            raise UntrustedCheckpoint(where, [problem]) from None
        except MalformedPickle as error:
            raise CheckpointError(where, [Problem(f"damaged: {error}, in a pickle of {len(data)} bytes", file)]) from error
        except Exception as error:  # an allowed class of the user's own may raise anything
            if not allow:
                raise
            raise CheckpointError(where, [Problem(f"damaged: {type(error).__name__}: {error}", file)]) from error
    return found  # type: ignore[no-any-return]


def _check(found: Any, nbytes: int, allow: tuple[type, ...], sound: set[int]) -> None:
    """Raises MalformedPickle where the value is not a checkpoint's metadata, field by field."""
    if type(found) is not Metadata:
        raise MalformedPickle(f"it holds a {type(found).__name__} and not a checkpoint's metadata")
    described, storage = found.__dict__.get("state_dict_metadata"), found.__dict__.get("storage_data")
    if not isinstance(described, dict):
        raise MalformedPickle("it lists no state dict")
    if not isinstance(storage, dict):
        raise MalformedPickle("it does not say where anything is stored")
    _check_described(described, nbytes, sound)
    _check_places(storage, allow, sound)
    if type(found.storage_meta) not in (StorageMeta, type(None)) or type(found.version) not in (str, type(None)):
        raise MalformedPickle("its storage_meta or version is of another type")
    weigh = _Scale(nbytes, allow)
    weigh(found.planner_data)
    weigh(getattr(found.storage_meta, "__dict__", None))


def _check_described(described: dict[Any, Any], nbytes: int, sound: set[int]) -> None:
    parts = 0
    for name, one in described.items():
        if type(name) is not str:
            raise MalformedPickle(f"a {type(name).__name__} stands for the name of a value")
        if id(one) in sound:
            continue
        if type(one) is TensorStorageMetadata:
            parts += _check_tensor(name, one, nbytes - parts)
        elif type(one) is not BytesStorageMetadata:
            raise MalformedPickle(f"'{name}' is described by a {type(one).__name__}")


def _check_places(storage: dict[Any, Any], allow: tuple[type, ...], sound: set[int]) -> None:
    for index, place in storage.items():
        if id(index) in sound and id(place) in sound and type(index) is MetadataIndex and type(place) is _StorageInfo:
            continue
        if type(index) is not MetadataIndex or type(index.__dict__.get("index")) not in (int, type(None)):
            raise MalformedPickle(f"a place is listed for a {type(index).__name__}")
        if type(place) is _StorageInfo:
            if id(place) not in sound:
                _check_place(index.fqn, place)
        elif type(place) not in allow:
            raise MalformedPickle(f"the place of '{index.fqn}' is a {type(place).__name__}")


def _check_tensor(name: str, one: TensorStorageMetadata, left: int) -> int:
    """Returns the number of parts; more than `left` are not looked at."""
    fields = one.__dict__
    size, chunks, properties = fields.get("size"), fields.get("chunks"), fields.get("properties")
    if type(size) is not torch.Size or type(chunks) is not list:
        raise MalformedPickle(f"'{name}' has no shape or no list of parts")
    if type(getattr(properties, "__dict__", {}).get("dtype")) is not torch.dtype:
        raise MalformedPickle(f"'{name}' has no dtype")
    if len(chunks) > left:
        raise MalformedPickle("the same parts are listed for many tensors")
    rank = len(size)
    for chunk in chunks:
        if type(chunk) is not ChunkStorageMetadata:
            raise MalformedPickle(f"a part of '{name}' is a {type(chunk).__name__}")
        own = chunk.__dict__
        offsets, sizes = own.get("offsets"), own.get("sizes")
        if type(offsets) is not torch.Size or type(sizes) is not torch.Size or len(offsets) != rank or len(sizes) != rank:
            raise MalformedPickle(f"a part of '{name}' has no place in its shape {list(size)}")
    return len(chunks)


def _check_place(name: str, place: _StorageInfo) -> None:
    own = place.__dict__
    path, offset, length, transforms = (own.get(key) for key in ("relative_path", "offset", "length", "transform_descriptors"))
    if isinstance(path, PurePath):
        place.relative_path = path.as_posix()
    elif type(path) is not str or "\0" in path:
        raise MalformedPickle(f"the file of '{name}' is a {type(path).__name__} and no name")
    if type(offset) is not int or type(length) is not int or not (0 <= offset < MOST_BYTES and 0 <= length < MOST_BYTES):
        raise MalformedPickle(f"the place of '{name}' in its file is no pair of numbers")
    if transforms is not None and not (isinstance(transforms, (list, tuple)) and all(type(one) is str for one in transforms)):
        raise MalformedPickle(f"the transforms of '{name}' are no names")


class _Scale:
    """Looks how large and deep a value is if each reference is followed, so that nobody who walks it takes for ever."""

    def __init__(self, limit: int, allow: tuple[type, ...]) -> None:
        self._left, self._allow = limit + MOST_HEIGHT, allow
        self._known: dict[int, tuple[int, int]] = {}

    def __call__(self, value: Any) -> None:
        """Raises MalformedPickle."""
        if self._measure(value, 0)[0] > self._left:
            raise MalformedPickle("it repeats the same values again and again")

    def _measure(self, value: Any, depth: int) -> tuple[int, int]:
        """Elements and height."""
        if not isinstance(value, (list, tuple, set, frozenset, dict)):
            return 1, 0
        known = self._known.get(id(value))
        if known is None:
            if depth > MOST_HEIGHT:
                raise MalformedPickle("it is nested too deep")
            self._known[id(value)] = (0, MOST_HEIGHT + 1)  # met again before it is known: it contains itself
            items = [*value.keys(), *value.values()] if isinstance(value, dict) else value
            count, height = 1, 0
            for item in items:
                if type(item) is str or type(item) is int:
                    count += 1
                    continue
                more, below = self._measure(item, depth + 1)
                count, height = count + more, max(height, below)
            known = self._known[id(value)] = (count, height + 1)
        if known[1] > MOST_HEIGHT:
            raise MalformedPickle("it is nested too deep")
        return known
