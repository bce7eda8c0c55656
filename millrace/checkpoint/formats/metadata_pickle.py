"""The pickle of a checkpoint's metadata, read into torch's own records without the unpickler.

A record is made empty and given its fields; nothing of its class is called but what `metadata.records` lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.distributed.checkpoint import filesystem
from torch.distributed.checkpoint import metadata as records

from millrace.checkpoint.formats.metadata.records import CLASSES, CONTAINERS, ENUMS, FUNCTIONS, KNOWN, PROPERTIES, give_properties
from millrace.checkpoint.formats.metadata.runs import RunMachine
from millrace.checkpoint.formats.pickle_machine import ForbiddenName, MalformedPickle, Symbol

MOST_FIELDS = 64
"""Of a record."""


class MetadataMachine(RunMachine):
    """Builds the records of a checkpoint's metadata.

    Args:
        data: the pickle.
        allow: classes of the user's own by module and name: these are called as Python's unpickler would.
    """

    def __init__(self, data: bytes, allow: Mapping[tuple[str, str], type]) -> None:
        super().__init__(data)
        self._allow = allow
        self._symbols: dict[tuple[str, str], Any] = {}
        self.know_size(self.find("torch", "Size"))

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
        if not any(key in table for table in (CLASSES, ENUMS, FUNCTIONS, CONTAINERS)):
            raise ForbiddenName(f"asks for '{module}.{name}', which no checkpoint needs")
        symbol = Symbol(module, name)
        kind = CLASSES.get(key)
        if kind is records.TensorStorageMetadata:
            symbol.whole = self.whole_tensor
        elif kind is records.ChunkStorageMetadata:
            symbol.whole = self.whole_part
        elif kind is records.MetadataIndex:
            symbol.whole = self.whole_index
        elif kind is filesystem._StorageInfo:
            symbol.whole = self.whole_place
        return symbol

    def call(self, function: Any, arguments: Any) -> Any:
        if isinstance(function, type) and function in self._allow.values():
            return function(*arguments)
        key = (function.module, function.name) if isinstance(function, Symbol) else None
        if key in FUNCTIONS:
            return FUNCTIONS[key](*arguments)
        if key in ENUMS and len(arguments) == 1 and type(arguments[0]) is int:
            try:
                return ENUMS[key](arguments[0])
            except ValueError as error:
                raise MalformedPickle("a memory format that torch does not have") from error
        if key in CONTAINERS and len(arguments) <= 1:
            return self._container(CONTAINERS[key], *arguments)
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
        record = CLASSES.get((kind.module, kind.name)) if isinstance(kind, Symbol) else None
        if record is None or arguments != () or named:
            return super().new(kind, arguments, named)
        return object.__new__(record)

    def build(self, made: Any, state: Any) -> Any:
        kind = type(made)
        if kind in self._allow.values():
            return _with_state(made, state)
        if kind not in KNOWN:
            return super().build(made, state)
        if made.__dict__:
            raise MalformedPickle(f"gives a {kind.__name__} its state twice")
        if kind in PROPERTIES:
            give_properties(made, state)
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
