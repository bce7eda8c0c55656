"""Reads the pickle of one plain tensor without unpickling it: a handful of opcodes, values only, nothing is found or called."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
}


class UnusualItemError(ValueError):
    """The item is not a plain tensor as torch writes it: whoever asked should let torch read it."""


@dataclass(frozen=True)
class SavedTensor:
    """What the pickle says."""

    key: str
    """The name of the storage's entry, behind `data/`."""
    nbytes: int
    dtype: torch.dtype
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    storage_offset: int


_USUAL = re.compile(
    rb"\x80\x02ctorch\._utils\n_rebuild_tensor_v2\nq\x00\(\(X\x07\x00\x00\x00storageq\x01ctorch\n(\w{1,30})\nq\x02"
    rb"X\x01\x00\x00\x00(\d)q\x03X\x03\x00\x00\x00cpuq\x04(K.|M..|J....)tq\x05Q(K.|M..|J....)"
    rb"((?:K.|M..|J....)\x85|(?:K.|M..|J....){2}\x86|(?:K.|M..|J....){3}\x87)q\x06"
    rb"((?:K.|M..|J....)\x85|(?:K.|M..|J....){2}\x86|(?:K.|M..|J....){3}\x87)q\x07"
    rb"\x89ccollections\nOrderedDict\nq\x08\)Rq\ttq\nRq\x0b\.",
    re.DOTALL,
)
"""The pickle of nearly every tensor of one to three dimensions: read in one step where many shapes differ."""


def usual_tensor(data: bytes, start: int) -> tuple[SavedTensor, int] | None:
    """The same as `read_tensor_pickle` for the usual form, five times as fast; None where it takes the long way."""
    found = _USUAL.match(data, start)
    if found is None:
        return None
    dtype = _STORAGES.get(found[1].decode())
    (numel,), (offset,), sizes, strides = (leading_numbers(found[index]) for index in (3, 4, 5, 6))
    if dtype is None or len(sizes) != len(strides):
        return None
    return SavedTensor(found[2].decode(), numel * dtype.itemsize, dtype, sizes, strides, offset), found.end() - start


def leading_numbers(data: bytes) -> tuple[int, ...]:
    """Consecutive BININT1, BININT2 and BININT opcodes; what follows them is left alone."""
    numbers, position, length = [], 0, len(data)
    while position < length:
        code = data[position]
        if code == 0x4B:
            numbers.append(data[position + 1])
            position += 2
        elif code == 0x4D:
            numbers.append(data[position + 1] | data[position + 2] << 8)
            position += 3
        elif code == 0x4A:
            numbers.append(int.from_bytes(data[position + 1 : position + 5], "little", signed=True))
            position += 5
        else:
            break
    return tuple(numbers)


def read_tensor_pickle(data: bytes, start: int) -> tuple[SavedTensor, int]:
    """The tensor that a pickle at `start` describes, and the pickle's length.

    Raises:
        UnusualItemError: it isn't what torch writes for a plain tensor on the CPU.
    """
    machine = _Machine(data, start)
    try:
        value = machine.run()
    except UnusualItemError:
        raise
    except (IndexError, struct.error, KeyError, ValueError) as error:
        raise UnusualItemError("its pickle is cut short or not torch's") from error
    return _plain_tensor(value), machine.position - start


STOP = 0x2E
_MARK = object()


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class _Call:
    function: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class _Persistent:
    value: Any


class _Machine:
    """A stack machine for the opcodes in `_STEPS`."""

    def __init__(self, data: bytes, start: int) -> None:
        self.data, self.position = data, start
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The value that the pickle leaves."""
        while True:
            code = self.data[self.position]
            self.position += 1
            if code == STOP:
                return self.stack.pop()
            step = _STEPS.get(code)
            if step is None:
                raise UnusualItemError(f"pickle opcode {code:#x}")
            step(self)

    def protocol(self) -> None:
        if self._take("<B") != 2:
            raise UnusualItemError("another pickle protocol")

    def name(self) -> None:
        self.stack.append(_Global(f"{self._line()}.{self._line()}"))

    def put(self) -> None:
        self.memo[self._take("<B")] = self.stack[-1]

    def get(self) -> None:
        self.stack.append(self.memo[self._take("<B")])

    def mark(self) -> None:
        self.stack.append(_MARK)

    def text(self) -> None:
        self.stack.append(self._bytes(self._take("<I")).decode())

    def long(self) -> None:
        self.stack.append(int.from_bytes(self._bytes(self._take("<B")), "little", signed=True))

    def number(self, layout: str) -> None:
        self.stack.append(self._take(layout))

    def to_mark(self) -> None:
        mark = len(self.stack) - 1 - self.stack[::-1].index(_MARK)
        self.stack[mark:] = [tuple(self.stack[mark + 1 :])]

    def last(self, count: int) -> None:
        self.stack[len(self.stack) - count :] = [tuple(self.stack[len(self.stack) - count :])]

    def persistent(self) -> None:
        self.stack.append(_Persistent(self.stack.pop()))

    def false(self) -> None:
        self.stack.append(False)

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Global):
            raise UnusualItemError("a call of something unnamed")
        self.stack.append(_Call(function.name, arguments))

    def _bytes(self, length: int) -> bytes:
        self.position += length
        return self.data[self.position - length : self.position]

    def _take(self, layout: str) -> int:
        (value,) = struct.unpack_from(layout, self.data, self.position)
        self.position += struct.calcsize(layout)
        return int(value)

    def _line(self) -> str:
        end = self.data.index(b"\n", self.position)
        line = self.data[self.position : end].decode()
        self.position = end + 1
        return line


_STEPS: dict[int, Callable[[_Machine], None]] = {
    0x80: _Machine.protocol,
    0x63: _Machine.name,
    0x71: _Machine.put,
    0x68: _Machine.get,
    0x28: _Machine.mark,
    0x58: _Machine.text,
    0x4A: lambda machine: machine.number("<i"),
    0x4B: lambda machine: machine.number("<B"),
    0x4D: lambda machine: machine.number("<H"),
    0x8A: _Machine.long,
    0x74: _Machine.to_mark,
    0x85: lambda machine: machine.last(1),
    0x86: lambda machine: machine.last(2),
    0x87: lambda machine: machine.last(3),
    0x29: lambda machine: machine.stack.append(()),
    0x51: _Machine.persistent,
    0x89: _Machine.false,
    0x52: _Machine.reduce,
}
_NO_HOOKS = _Call("collections.OrderedDict", ())


def _plain_tensor(value: Any) -> SavedTensor:
    match value:
        case _Call(
            "torch._utils._rebuild_tensor_v2",
            (
                _Persistent(("storage", _Global(storage), str(key), "cpu", int(numel))),
                int(offset),
                tuple(sizes),
                tuple(strides),
                False,
                hooks,
            ),
        ) if hooks == _NO_HOOKS and storage.startswith("torch."):
            dtype = _STORAGES.get(storage.removeprefix("torch."))
            if dtype is None:
                raise UnusualItemError(f"a storage of {storage}")
            nbytes = numel * dtype.itemsize
        case _Call(
            "torch._utils._rebuild_tensor_v3",
            (
                _Persistent(("storage", _Global("torch.storage.UntypedStorage"), str(key), "cpu", int(nbytes))),
                int(offset),
                tuple(sizes),
                tuple(strides),
                False,
                hooks,
                _Global(dtype_name),
            ),
        ) if hooks == _NO_HOOKS and dtype_name.startswith("torch."):
            dtype = getattr(torch, dtype_name.removeprefix("torch."), None)
            if not isinstance(dtype, torch.dtype):
                raise UnusualItemError(f"a dtype of {dtype_name}")
        case _:
            raise UnusualItemError("not a plain tensor (a subclass, quantised, sparse or conjugated one)")
    if not all(type(number) is int for number in (*sizes, *strides)):
        raise UnusualItemError("shape or strides are not whole numbers")
    return SavedTensor(key, nbytes, dtype, sizes, strides, offset)
