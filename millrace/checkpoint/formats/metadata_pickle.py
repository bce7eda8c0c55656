"""The pickle of a checkpoint's metadata, read into torch's own records without the unpickler.

A record is made empty and given its fields; nothing of its class is called but what is listed here. Most of the pickle repeats a
few patterns (a shape, a part, a place in a file), so each is recognised as a whole where it stands as torch writes it: that is as
fast as the unpickler in C. Where the pattern differs by a byte, its opcodes are taken one by one.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from torch.distributed.checkpoint import filesystem
from torch.distributed.checkpoint import metadata as records

from millrace.checkpoint.formats.item_pickle import leading_numbers
from millrace.checkpoint.formats.pickle_machine import ForbiddenName, MalformedPickle, PickleMachine, Symbol

MOST_DIMENSIONS = 64
"""Of a tensor; torch's own limit."""
MOST_FIELDS = 64
"""Of a record."""
MOST_PATH_PARTS = 256
_ENUM = records._MEM_FORMAT_ENCODING
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
_PROPERTIES = (records.TensorProperties, *_OLD_PROPERTIES)
_ENUMS = {(_ENUM.__module__, _ENUM.__name__): _ENUM} | {key: kind for key, kind in _OLD.items() if kind not in _PROPERTIES}
_CLASSES = RECORDS | {key: kind for key, kind in _OLD.items() if kind in _PROPERTIES}
_KNOWN = set(_CLASSES.values())


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


_FUNCTIONS = _functions()
_CONTAINERS = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "list"): list,
    ("builtins", "dict"): dict,
    ("builtins", "tuple"): tuple,
}

_G = rb"(h.|j....)"
_N = rb"(?:K.|M..|J....)"
_SHAPE = rb"(\)|" + _N + rb"\x85\x94|" + _N + rb"{2}\x86\x94|" + _N + rb"{3}\x87\x94|\(" + _N + rb"{4,16}t\x94)\x85\x94R\x94"
_FIELDS = rb"\)\x81\x94\}\x94\("
_PROPERTIES_AT = rb"\)\x81\x94\(" + _G + _G + rb"\x89" + _G + rb"\x89t\x94b"
_TENSOR_AT = re.compile(
    _FIELDS + _G + _G + _PROPERTIES_AT + _G + _G + _SHAPE + _G + rb"\]\x94" + _G + _FIELDS + (_G + _G + _SHAPE) * 2 + rb"ubaub",
    re.DOTALL,
)
_INDEX_AT = re.compile(_FIELDS + _G + _G + _G + rb"(N|" + _N + rb")(?:" + _G + _G + _SHAPE + rb")?ub", re.DOTALL)
_PLACE_AT = re.compile(_FIELDS + _G + _G + _G + rb"(" + _N + rb")" + _G + rb"(" + _N + rb")ub", re.DOTALL)


_INDEX_NAMES = ("fqn", "index")
_PLACE_NAMES = ("relative_path", "offset", "length")


class MetadataMachine(PickleMachine):
    """Builds the records of a checkpoint's metadata.

    Args:
        data: the pickle.
        allow: classes of the user's own by module and name: these are called as Python's unpickler would.
    """

    def __init__(self, data: bytes, allow: Mapping[tuple[str, str], type]) -> None:
        super().__init__(data)
        self._allow = allow
        self._symbols: dict[tuple[str, str], Any] = {}
        self._shapes: dict[bytes, torch.Size | None] = {}
        self._models: dict[bytes, tuple[Any, ...]] = {}
        self._checked: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._size = self.find("torch", "Size")
        self._offset_names = ("offset", self._size)
        self.sound: set[int] = set()
        """Which objects, by `id`, are complete and of the right types, as they came from a whole pattern."""

    def find(self, module: str, name: str) -> Any:
        found = self._symbols.get((module, name))
        if found is None:
            found = self._symbols[module, name] = self._found(module, name)
        return found

    def _found(self, module: str, name: str) -> Any:
        if (module, name) in self._allow:
            return self._allow[module, name]
        if module == "torch" and isinstance(dtype := getattr(torch, name, None), torch.dtype):
            return dtype
        key = (module, name)
        if not any(key in table for table in (_CLASSES, _ENUMS, _FUNCTIONS, _CONTAINERS)):
            raise ForbiddenName(f"asks for '{module}.{name}', which no checkpoint needs")
        symbol = Symbol(module, name)
        kind = _CLASSES.get(key)
        if kind is records.TensorStorageMetadata:
            symbol.whole = self._whole_tensor
        elif kind is records.MetadataIndex:
            symbol.whole = self._whole_index
        elif kind is filesystem._StorageInfo:
            symbol.whole = self._whole_place
        return symbol

    def call(self, function: Any, arguments: Any) -> Any:
        if isinstance(function, type) and function in self._allow.values():
            return function(*arguments)
        key = (function.module, function.name) if isinstance(function, Symbol) else None
        if key in _FUNCTIONS:
            return _FUNCTIONS[key](*arguments)
        if key in _ENUMS and len(arguments) == 1 and type(arguments[0]) is int:
            try:
                return _ENUMS[key](arguments[0])
            except ValueError as error:
                raise MalformedPickle("a memory format that torch does not have") from error
        if key in _CONTAINERS and len(arguments) <= 1:
            return self._container(_CONTAINERS[key], *arguments)
        return super().call(function, arguments)

    def _container(self, kind: Any, values: Any = ()) -> Any:
        if not isinstance(values, (list, tuple, set, frozenset, dict)):
            raise MalformedPickle(f"a {kind.__name__} of {type(values).__name__}")
        self.spend(len(values))
        if kind in (set, frozenset):
            return kind(self.elements(values))
        if kind in (list, tuple):
            return kind(values)
        if not isinstance(values, dict) and len(values):
            raise MalformedPickle("a dictionary of pairs")
        return kind(values)

    def new(self, kind: Any, arguments: Any, named: Any = None) -> Any:
        if isinstance(kind, type) and kind in self._allow.values():
            return kind.__new__(kind, *arguments, **(named or {}))
        record = _CLASSES.get((kind.module, kind.name)) if isinstance(kind, Symbol) else None
        if record is None or arguments != () or named:
            return super().new(kind, arguments, named)
        return object.__new__(record)

    def build(self, made: Any, state: Any) -> Any:
        kind = type(made)
        if kind in self._allow.values():
            return _with_state(made, state)
        if kind not in _KNOWN:
            return super().build(made, state)
        if made.__dict__:
            raise MalformedPickle(f"gives a {kind.__name__} its state twice")
        if kind in _PROPERTIES:
            _give_properties(made, state)
            return made
        fields = state[0] if isinstance(state, tuple) and len(state) == 2 and state[1] is None else state
        if not isinstance(fields, dict) or len(fields) > MOST_FIELDS:
            raise MalformedPickle(f"a {kind.__name__} whose state is no short mapping")
        if not all(isinstance(name, str) and name.isidentifier() and not name.startswith("__") for name in fields):
            raise MalformedPickle(f"a {kind.__name__} with a field that is no name")
        made.__dict__.update(fields)
        return made

    def hashable(self, value: Any) -> bool:
        if type(value) is records.MetadataIndex:
            own = value.__dict__
            return type(own.get("fqn")) is str and type(own.get("offset")) in (torch.Size, type(None))
        return super().hashable(value) or type(value) in self._allow.values()

    # What follows recognises whole patterns. Each returns False, with nothing changed, where it does not see its own.

    def _referred(self, raw: bytes) -> Any:
        return self.memo[raw[1] if len(raw) == 2 else int.from_bytes(raw[1:], "little")]

    def _number(self, raw: bytes) -> int:
        """A whole number with its opcode."""
        return int.from_bytes(raw[1:], "little", signed=raw[0] == 0x4A)

    def _shape(self, raw: bytes) -> torch.Size | None:
        if raw not in self._shapes:
            numbers = leading_numbers(raw.removeprefix(b"("))  # four and more stand after a mark
            self._shapes[raw] = torch.Size(numbers) if min(numbers, default=0) >= 0 else None
        return self._shapes[raw]

    def _whole_tensor(self) -> bool:
        """A tensor in one part. All bytes but those of a new shape or dtype have been seen before."""
        found = _TENSOR_AT.match(self.data, self.position)
        if found is None:
            return False
        raw = found[0]
        model = self._models.get(raw) or self._model(found)
        if model is None:
            return False
        self._models[raw] = model
        properties, size, offsets, sizes, noted = model
        part: Any = object.__new__(records.ChunkStorageMetadata)
        part.__dict__.update(offsets=offsets, sizes=sizes)
        own: Any = object.__new__(records.TensorProperties)
        own.__dict__.update(properties)
        made: Any = object.__new__(records.TensorStorageMetadata)
        made.__dict__.update(properties=own, size=size, chunks=[part])
        memo = self.memo
        first = len(memo)
        memo.extend(noted)
        memo[first], memo[first + 2] = made, own  # lists and dictionaries are not given out: what is complete stays as it is
        self.sound.add(id(made))
        self.stack.append(made)
        self.position = found.end()
        return True

    def _model(self, found: re.Match[bytes]) -> tuple[Any, ...] | None:
        """What a tensor's bytes come to: its properties, shapes, and the values that the memo gets."""
        names = ("properties", "size", "chunks", "offsets", "sizes")
        if tuple(self._referred(found[index]) for index in (1, 6, 9, 11, 14)) != names:
            return None
        if any(self._referred(found[index]) is not self._size for index in (7, 12, 15)):
            return None
        if [_record_of(self._referred(found[index])) for index in (2, 10)] != [
            records.TensorProperties,
            records.ChunkStorageMetadata,
        ]:
            return None
        dtype, layout, encoding = (self._referred(found[index]) for index in (3, 4, 5))
        if type(dtype) is not torch.dtype or type(layout) is not torch.layout or type(encoding) is not _ENUM:
            return None
        size, offsets, sizes = (self._shape(found[index]) for index in (8, 13, 16))
        if size is None or offsets is None or sizes is None or not len(size) == len(offsets) == len(sizes):
            return None
        model: Any = object.__new__(records.TensorProperties)
        _give_properties(model, (dtype, layout, False, encoding, False))
        noted = [None] * 4 + _noted(found[8], size) + [None] * 3 + _noted(found[13], offsets) + _noted(found[16], sizes)
        return dict(model.__dict__), size, offsets, sizes, noted

    def _refer_to(self, raw: tuple[Any, ...], names: tuple[Any, ...]) -> bool:
        """Whether the references stand for exactly these names and symbols; asked of the memo once for the same bytes."""
        if self._checked.get(raw) is names:
            return True
        for reference, name in zip(raw, names, strict=True):
            found = None if reference is None else self._referred(reference)
            if found is not name and not (type(found) is str and found == name):
                return False
        self._checked[raw] = names
        return True

    def _whole_index(self) -> bool:
        found = _INDEX_AT.match(self.data, self.position)
        if found is None:
            return False
        name = self._referred(found[2])
        if type(name) is not str or not self._refer_to(found.group(1, 3), _INDEX_NAMES):
            return False
        fields: dict[str, Any] = {"fqn": name, "index": None if found[4] == b"N" else self._number(found[4])}
        noted: list[Any] = [None, None]
        if found[5] is not None:
            shape = self._shape(found[7])
            if shape is None or not self._refer_to(found.group(5, 6), self._offset_names):
                return False
            fields["offset"] = shape
            noted += _noted(found[7], shape)
        self._push(records.MetadataIndex, fields, noted, found.end())
        return True

    def _whole_place(self) -> bool:
        found = _PLACE_AT.match(self.data, self.position)
        if found is None or not self._refer_to(found.group(1, 3, 5), _PLACE_NAMES):
            return False
        path, offset, length = self._referred(found[2]), self._number(found[4]), self._number(found[6])
        if type(path) is not str or "\0" in path or offset < 0 or length < 0:
            return False
        fields = {"relative_path": path, "offset": offset, "length": length}
        self._push(filesystem._StorageInfo, fields, [None, None], found.end())
        return True

    def _push(self, kind: type, fields: dict[str, Any], noted: list[Any], end: int) -> None:
        made: Any = object.__new__(kind)
        made.__dict__.update(fields)
        noted[0] = made
        self.memo.extend(noted)
        self.sound.add(id(made))
        self.stack.append(made)
        self.position = end


def _noted(raw: bytes, shape: torch.Size) -> list[Any]:
    """What the memo gets for a shape: its numbers (the empty tuple is never remembered), the arguments of the call, the shape."""
    return [(shape,), shape] if raw == b")" else [shape, (shape,), shape]


def _record_of(value: Any) -> type | None:
    return _CLASSES.get((value.module, value.name)) if type(value) is Symbol else None


def _give_properties(made: Any, state: Any) -> None:
    if not isinstance(state, tuple) or len(state) != 5 or type(state[3]) not in _ENUMS.values():
        raise MalformedPickle("tensor properties that are not five values")
    try:
        made.__setstate__(state)
    except RuntimeError as error:
        raise MalformedPickle("tensor properties of an unknown memory format") from error


def _with_state(made: Any, state: Any) -> Any:
    if hasattr(made, "__setstate__"):
        made.__setstate__(state)
        return made
    slots: dict[str, Any] = {}
    if isinstance(state, tuple) and len(state) == 2:
        state, slots = state
    made.__dict__.update(state or {})
    for name, value in (slots or {}).items():
        setattr(made, name, value)
    return made
