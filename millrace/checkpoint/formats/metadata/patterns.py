"""Recognises what a metadata pickle repeats (a shape, a part, a place in a file) as a whole, where it stands as torch writes it.

That is as fast as the unpickler in C. Where a pattern differs by a byte, its opcodes are taken one by one.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch.distributed.checkpoint import filesystem
from torch.distributed.checkpoint import metadata as records

from millrace.checkpoint.formats.item_pickle import leading_numbers
from millrace.checkpoint.formats.metadata.records import ENUM, give_properties, record_of
from millrace.checkpoint.formats.pickle_machine import PickleMachine

_G = rb"(h.|j....)"
NUMBER = rb"(?:K.|M..|J....)"
_N = NUMBER
SHAPE = rb"\)|" + _N + rb"\x85\x94|" + _N + rb"{2}\x86\x94|" + _N + rb"{3}\x87\x94|\(" + _N + rb"{4,16}t\x94"
"""The numbers of a shape, as a tuple; `SHAPE_END` follows."""
SHAPE_END = rb"\x85\x94R\x94"
_SHAPE = rb"(" + SHAPE + rb")" + SHAPE_END
_FIELDS = rb"\)\x81\x94\}\x94\("
_PROPERTIES_AT = rb"\)\x81\x94\(" + _G + _G + rb"\x89" + _G + rb"\x89t\x94b"
_HEAD = _FIELDS + _G + _G + _PROPERTIES_AT + _G + _G + _SHAPE + _G + rb"\]\x94"
_TENSOR_AT = re.compile(_HEAD + _G + _FIELDS + (_G + _G + _SHAPE) * 2 + rb"ubaub", re.DOTALL)
_CUT_AT = re.compile(_HEAD + rb"\(", re.DOTALL)
_PART_AT = re.compile(_FIELDS + (_G + _G + _SHAPE) * 2 + rb"ub", re.DOTALL)
_INDEX_AT = re.compile(_FIELDS + _G + _G + _G + rb"(N|" + _N + rb")(?:" + _G + _G + _SHAPE + rb")?ub", re.DOTALL)
_PLACE_AT = re.compile(_FIELDS + _G + _G + _G + rb"(" + _N + rb")" + _G + rb"(" + _N + rb")ub", re.DOTALL)


_INDEX_NAMES = ("fqn", "index")
_PLACE_NAMES = ("relative_path", "offset", "length")


class PatternMachine(PickleMachine):
    """Takes whole patterns. Each `whole_…` returns False, with nothing changed, where it does not see its own."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._shapes: dict[bytes, torch.Size | None] = {}
        self._models: dict[bytes, tuple[Any, ...]] = {}
        self._heads: dict[bytes, tuple[dict[str, Any], torch.Size, list[Any]] | None] = {}
        self._checked: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._size: Any = None
        self._offset_names: tuple[Any, ...] = ()
        self._part_names: tuple[Any, ...] = ()
        self.references: tuple[bytes, ...] = ()
        """How the last whole pattern refers to the names of its fields."""
        self.size_reference: bytes | None = None
        """How it refers to torch's shape."""

    def know_size(self, symbol: Any) -> None:
        """What the name of torch's shape comes to here: patterns look for it."""
        self._size = symbol
        self._offset_names = ("offset", symbol)
        self._part_names = ("offsets", symbol, "sizes", symbol)

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

    def whole_tensor(self) -> bool:
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
        head = self._head(found)
        if head is None or tuple(self._referred(found[index]) for index in (11, 14)) != ("offsets", "sizes"):
            return None
        if any(self._referred(found[index]) is not self._size for index in (12, 15)):
            return None
        properties, size, noted = head
        offsets, sizes = self._shape(found[13]), self._shape(found[16])
        if record_of(self._referred(found[10])) is not records.ChunkStorageMetadata or offsets is None or sizes is None:
            return None
        if not len(size) == len(offsets) == len(sizes):
            return None
        return properties, size, offsets, sizes, noted + [None] * 2 + noted_of(found[13], offsets) + noted_of(found[16], sizes)

    def _head(self, found: re.Match[bytes]) -> tuple[dict[str, Any], torch.Size, list[Any]] | None:
        """What the bytes up to the list of parts come to: properties, shape, and what the memo gets up to that list."""
        if tuple(self._referred(found[index]) for index in (1, 6, 9)) != ("properties", "size", "chunks"):
            return None
        if self._referred(found[7]) is not self._size or record_of(self._referred(found[2])) is not records.TensorProperties:
            return None
        dtype, layout, encoding = (self._referred(found[index]) for index in (3, 4, 5))
        if type(dtype) is not torch.dtype or type(layout) is not torch.layout or type(encoding) is not ENUM:
            return None
        size = self._shape(found[8])
        if size is None:
            return None
        model: Any = object.__new__(records.TensorProperties)
        give_properties(model, (dtype, layout, False, encoding, False))
        return dict(model.__dict__), size, [None] * 4 + noted_of(found[8], size) + [None]

    def cut_head(self) -> tuple[dict[str, Any], torch.Size, list[Any], int] | None:
        """What stands here up to the parts of a tensor that has several, and where they begin; None: something else."""
        found = _CUT_AT.match(self.data, self.position)
        if found is None:
            return None
        head = self._heads[found[0]] = self._heads.get(found[0]) or self._head(found)
        return None if head is None else (*head, found.end())

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

    def whole_part(self) -> bool:
        """One part of a tensor that has several."""
        found = _PART_AT.match(self.data, self.position)
        if found is None or not self._refer_to(found.group(1, 2, 4, 5), self._part_names):
            return False
        offsets, sizes = self._shape(found[3]), self._shape(found[6])
        if offsets is None or sizes is None or len(offsets) != len(sizes):
            return False
        noted = [None, None, *noted_of(found[3], offsets), *noted_of(found[6], sizes)]
        self.references, self.size_reference = found.group(1, 4), found[2]
        self._push(records.ChunkStorageMetadata, {"offsets": offsets, "sizes": sizes}, noted, found.end())
        return True

    def whole_index(self) -> bool:
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
            noted += noted_of(found[7], shape)
        self.references = found.group(1, 3) if found[5] is None else found.group(1, 3, 5)
        self._push(records.MetadataIndex, fields, noted, found.end())
        return True

    def whole_place(self) -> bool:
        found = _PLACE_AT.match(self.data, self.position)
        if found is None or not self._refer_to(found.group(1, 3, 5), _PLACE_NAMES):
            return False
        path, offset, length = self._referred(found[2]), self._number(found[4]), self._number(found[6])
        if type(path) is not str or "\0" in path or offset < 0 or length < 0:
            return False
        fields = {"relative_path": path, "offset": offset, "length": length}
        self.references = found.group(1, 3, 5)
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


def noted_of(raw: bytes, shape: torch.Size) -> list[Any]:
    """What the memo gets for a shape: its numbers (the empty tuple is never remembered), the arguments of the call, the shape."""
    return [(shape,), shape] if raw == b")" else [shape, (shape,), shape]
