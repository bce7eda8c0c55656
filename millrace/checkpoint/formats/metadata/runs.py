"""Recognises whole runs of what a metadata pickle repeats by the thousand: parts of a tensor, and places by their index.

One expression finds a run, another cuts it into its values; both are made from the references that the first one of its kind has.
Whatever differs in a byte is left to the patterns, and what these don't know to the single opcodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch.distributed.checkpoint import filesystem
from torch.distributed.checkpoint import metadata as records

from millrace.checkpoint.formats.metadata.patterns import NUMBER, SHAPE, SHAPE_END, PatternMachine, noted_of
from millrace.checkpoint.formats.pickle_machine import Symbol

_FIELDS = rb"\)\x81\x94\}\x94\("
_REF = rb"h.|j...."
_TEXT = rb"(?:(h.|j....)|\x8c(.)([\x20-\x7e]*+)\x94)"
"""A reference to a text, or a text and its length, which is compared afterwards: its end is no printable character."""
_WIDE = rb"(" + NUMBER + rb"|\x8a\x05.{5}|\x8a\x06.{6})"
_SIZES = rb"(?:<Size>(" + SHAPE + rb")" + SHAPE_END + rb"|(h.|j....))"
_PART = rb"<ChunkStorageMetadata>" + _FIELDS + rb"<offsets>" + _SIZES + rb"<sizes>" + _SIZES + rb"ub"
_INDEX = rb"<MetadataIndex>" + _FIELDS + rb"<fqn>" + _TEXT + rb"<index>(N|" + NUMBER + rb")<offset>" + _SIZES + rb"ub"
_PLACE = rb"<_StorageInfo>" + _FIELDS + rb"<relative_path>" + _TEXT + rb"<offset>" + _WIDE + rb"<length>" + _WIDE + rb"ub"
_NAME = re.compile(rb"<(\w+)>")
_GROUP = re.compile(rb"(?<!\\)\((?!\?)")
MOST_MISSES = 16
"""Runs that have the form and not the content: real metadata has none, so no more are looked for."""
MOST_UNITS = 4096

_new = object.__new__
_set = object.__setattr__


class _Repeated:
    """What is repeated: an expression in which names in angle brackets stand for references to them.

    Args:
        unit: the expression.
    """

    def __init__(self, unit: bytes) -> None:
        self.names = [name.decode() for name in _NAME.findall(unit)]
        self._unit = unit
        bare = _GROUP.sub(rb"(?:", unit)
        self.first = re.compile(_NAME.sub(rb"(" + _REF + rb")", bare), re.DOTALL)
        """Matches one of them, with the references as groups."""

    def known(self, references: tuple[bytes, ...]) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
        """For one with these references and its values, and for many of them."""
        given = iter(references)
        unit = _NAME.sub(lambda _: re.escape(next(given)), self._unit)
        many = rb"(?:" + _GROUP.sub(rb"(?:", unit) + rb"){1,%d}+" % MOST_UNITS
        return re.compile(unit, re.DOTALL), re.compile(many, re.DOTALL)


_REPEATED = {"part": _Repeated(_PART), "pair": _Repeated(_INDEX + _PLACE)}


class RunMachine(PatternMachine):
    """Takes runs where there are any, and else single patterns."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._kept: dict[bytes, tuple[torch.Size, tuple[Any, ...]] | None] = {}
        self.missed = 0
        self._cut_last = False
        self._hints: dict[bytes, int | None] = {b"N": None}
        self._known: dict[str, tuple[int, re.Pattern[bytes], re.Pattern[bytes]]] = {}
        """The length of the reference that each begins with, which is taken already, one of them, and many."""

    def whole_tensor(self) -> bool:
        own, other = super().whole_tensor, self._cut_tensor
        if self._cut_last:
            own, other = other, own
        if own():
            return True
        if not other():
            return False
        self._cut_last = not self._cut_last
        return True

    def whole_part(self) -> bool:
        return self._run("part", self._parts) or super().whole_part()

    def whole_index(self) -> bool:
        return self._run("pair", self._pairs) or super().whole_index()

    def _learn(self, name: str) -> None:
        """Keep how the one that stands here refers to its classes and fields: all others do so by the same bytes."""
        repeated = _REPEATED[name]
        for length in (2, 5):
            found = repeated.first.match(self.data, max(0, self.position - length))
            if found is not None and all(
                self._is_named(self._at(one), own) for one, own in zip(found.groups(), repeated.names, strict=True) if one
            ):
                references = tuple(one or b"\x00never\x00" for one in found.groups())
                self._known[name] = length, *repeated.known(references)
                return

    def _is_named(self, value: Any, name: str) -> bool:
        if type(value) is Symbol:
            return value is self._size if name == "Size" else value.whole is not None and value.name == name
        return type(value) is str and value == name

    def _run(self, name: str, build: Callable[[list[Any]], int]) -> bool:
        if name not in self._known:
            self._learn(name)
        if name not in self._known or self.missed >= MOST_MISSES:
            return False
        length, unit, many = self._known[name]
        start = self.position - length
        matched = many.match(self.data, start)
        if matched is None:
            return False
        values = unit.findall(self.data, start, matched.end())
        done = build(values)
        if done == len(values):
            self.position = matched.end()
            return True
        self.missed += 1
        if not done:
            return False
        for _ in range(done):
            one = unit.match(self.data, start)
            assert one is not None
            start = one.end()
        self.position = start
        return True

    def _cut_tensor(self) -> bool:
        """A tensor in many parts."""
        head = self.cut_head() if "part" in self._known and self.missed < MOST_MISSES else None
        if head is None:
            return False
        properties, size, noted, begin = head
        _, unit, many = self._known["part"]
        matched = many.match(self.data, begin)
        if matched is None or not self.data.startswith(b"eub", matched.end()):
            return False
        before, outer, self.stack = len(self.memo), self.stack, []
        self.memo.extend(noted)
        values = unit.findall(self.data, begin, matched.end())
        done, parts, self.stack = self._parts(values, len(size)), self.stack, outer
        if done < len(values):
            del self.memo[before:]
            self.missed += 1
            return False
        own: Any = _new(records.TensorProperties)
        own.__dict__.update(properties)
        made: Any = _new(records.TensorStorageMetadata)
        made.__dict__.update(properties=own, size=size, chunks=parts)
        self.memo[before], self.memo[before + 2] = made, own
        self.sound.add(id(made))
        self.stack.append(made)
        self.position = matched.end() + len(b"eub")
        return True

    def _shape_kept(self, raw: bytes) -> tuple[torch.Size, tuple[Any, ...]] | None:
        shape = self._shape(raw)
        kept = self._kept[raw] = None if shape is None else (shape, tuple(noted_of(raw, shape)))
        return kept

    def _parts(self, values: list[Any], rank: int | None = None) -> int:
        """Returns how many of them are sound, of so many dimensions, and on the stack."""
        memo, sound, kept, at = self.memo, self.sound, self._kept, self._at
        kind, push = records.ChunkStorageMetadata, self.stack.append
        for number, (offsets_raw, offsets_ref, sizes_raw, sizes_ref) in enumerate(values):
            before = len(memo)
            made: Any = _new(kind)
            low = (at(offsets_ref), ()) if offsets_ref else kept.get(offsets_raw) or self._shape_kept(offsets_raw) or _NOTHING
            memo += (made, None, *low[1])
            high = (at(sizes_ref), ()) if sizes_ref else kept.get(sizes_raw) or self._shape_kept(sizes_raw) or _NOTHING
            memo += high[1]
            offsets, sizes = low[0], high[0]
            if (
                type(offsets) is not torch.Size
                or type(sizes) is not torch.Size
                or not len(offsets) == len(sizes) == (len(sizes) if rank is None else rank)
            ):
                del memo[before:]
                return number
            made.__dict__ = {"offsets": offsets, "sizes": sizes}
            sound.add(id(made))
            push(made)
        return len(values)

    def _pairs(self, values: list[Any]) -> int:
        """Returns how many of them are sound, and on the stack."""
        memo, stack, sound, kept, at = self.memo, self.stack, self.sound, self._kept, self._at
        last_ref, last_name = b"", None
        index_kind, place_kind, whole, hints = records.MetadataIndex, filesystem._StorageInfo, int.from_bytes, self._hints
        for number, one in enumerate(values):
            name_ref, name_length, name, hint, raw, shape_ref, path_ref, path_length, path, start, length = one
            before = len(memo)
            index: Any = _new(index_kind)
            place: Any = _new(place_kind)
            memo += (index, None)
            if name_ref:
                if name_ref != last_ref:
                    last_ref, last_name = name_ref, at(name_ref)
                name = last_name
            elif name_length[0] == len(name):
                memo.append(name := name.decode("ascii"))
            if shape_ref:
                shape = at(shape_ref)
            else:
                shape, noted = kept.get(raw) or self._shape_kept(raw) or _NOTHING
                memo += noted
            memo += (place, None)
            if path_ref:
                path = at(path_ref)
            elif path_length[0] == len(path):
                memo.append(path := path.decode("ascii"))
            if (
                type(name) is not str
                or type(shape) is not torch.Size
                or type(path) is not str
                or "\0" in path
                or (start[0] in _SIGNED and start[-1] & 128)
                or (length[0] in _SIGNED and length[-1] & 128)
            ):
                del memo[before:]
                return number
            if hint not in hints:
                hints[hint] = whole(hint[1:], "little", signed=hint[0] == _INT)
            _set(index, "__dict__", {"fqn": name, "index": hints[hint], "offset": shape})
            start = whole(start[1 + (start[0] == _LONG) :], "little")
            length = whole(length[1 + (length[0] == _LONG) :], "little")
            place.__dict__ = {"relative_path": path, "offset": start, "length": length}
            sound.add(id(index))
            sound.add(id(place))
            stack += (index, place)
        return len(values)

    def _at(self, reference: bytes) -> Any:
        """What a reference stands for; None where there is nothing yet."""
        number = int.from_bytes(reference[1:], "little")
        return self.memo[number] if number < len(self.memo) else None


_INT, _LONG = b"J"[0], 0x8A
_SIGNED = (_INT, _LONG)
_NOTHING: tuple[None, tuple[Any, ...]] = (None, ())
