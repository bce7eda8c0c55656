"""A reader of pickles that builds plain containers and numbers, and leaves every name, call and object to its subclass.

Nothing of Python's unpickler is used, so nothing can be found, called or changed but by what a subclass does about a name. Its
work and memory are in proportion to the pickle's bytes: every opcode costs about the same, containers are counted, values that
are hashed are flat, and nothing nests deeper than `MOST_DEPTH`.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Any

MOST_DEPTH = 500
"""Open marks; a checkpoint's metadata needs about ten."""
FREE_CONTAINERS = 10_000
"""On top of one container per `BYTES_PER_CONTAINER` bytes."""
BYTES_PER_CONTAINER = 8
"""Metadata has one dictionary, list or record per 20 bytes and more, and an empty set takes 216 bytes of memory for one byte."""
MOST_KEY_PARTS = 64
"""Of a tuple that is hashed."""
MOST_ELEMENTS = 20_000
"""Of a set: it is filled in one go, and its elements may be chosen to have one hash."""
LONG_NBYTES = 4096
"""Of a whole number, about ten thousand decimal digits: random generators have states of a few hundred bytes."""
CLOCK_STEPS = 2048
"""Opcodes between two looks at the clock."""
FREE_S, S_PER_BYTE = 3.0, 5e-6
"""Processor time that a pickle may take: forty times what real ones do."""

SCALARS = (str, int, float, bool, bytes, type(None))


class MalformedPickle(ValueError):
    """The bytes are no pickle of the kind that is read here; the message says what is wrong."""


class ForbiddenName(MalformedPickle):
    """The pickle names something that it has no business naming; the message is what it does, as a predicate."""


class Symbol:
    """A name that a pickle may use; what can be done with it is decided where it is used."""

    __slots__ = ("module", "name", "whole")

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name
        self.whole: Callable[[], bool] | None = None
        """Takes a whole pattern that begins with this name, its value then lies on the stack; False: another one stands there."""

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class PickleMachine:
    """Runs one pickle. Subclasses say what names, calls, new objects and their states come to."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0
        self.stack: list[Any] = []
        self.memo: list[Any] = []
        self.sound: set[int] = set()
        """The `id` of what a subclass made complete and of the right types; the memo keeps it, so that nothing else gets it."""
        self._below: list[list[Any]] = []
        self._limit_s = 0.0
        self._containers = FREE_CONTAINERS + len(data) // BYTES_PER_CONTAINER

    def find(self, module: str, name: str) -> Any:
        """What a name stands for. Raises ForbiddenName."""
        raise ForbiddenName(f"asks for '{module}.{name}', which it has no need of")

    def call(self, function: Any, arguments: Any) -> Any:
        """What a call gives."""
        raise MalformedPickle(f"calls {_named(function)}")

    def new(self, kind: Any, arguments: Any, named: Any = None) -> Any:
        """A new object of a class."""
        raise MalformedPickle(f"makes a {_named(kind)}")

    def build(self, made: Any, state: Any) -> Any:
        """The object with its state."""
        raise MalformedPickle(f"gives a state to {_named(made)}")

    def persistent(self, reference: Any) -> Any:
        """What a reference to something outside the pickle stands for."""
        raise MalformedPickle("refers to something outside of itself")

    def hashable(self, value: Any) -> bool:
        """Whether a value may be a key: flat, so that hashing it takes no time."""
        if isinstance(value, SCALARS):
            return True
        return isinstance(value, tuple) and len(value) <= MOST_KEY_PARTS and all(isinstance(one, SCALARS) for one in value)

    def run(self) -> Any:
        """The value that the pickle leaves.

        Raises:
            MalformedPickle: it is damaged, takes too much, or does what none of its kind does.
        """
        data, steps, memo = self.data, _STEPS, self.memo
        self._limit_s = time.thread_time() + FREE_S + S_PER_BYTE * len(data)
        try:
            while True:
                for _ in range(CLOCK_STEPS):
                    code = data[self.position]
                    self.position += 1
                    if code == GET:  # the five opcodes that most of a pickle is made of, without a call
                        value = memo[data[self.position]]
                        self.position += 1
                        if type(value) is not Symbol or value.whole is None or not value.whole():
                            self.stack.append(value)
                        continue
                    if code == MEMOIZE:
                        memo.append(self.stack[-1])
                        continue
                    if code == SHORT_TEXT:
                        start = self.position + 1
                        end = self.position = start + data[start - 1]
                        if end > len(data):
                            raise MalformedPickle(f"{end - start} bytes are said to follow byte {start - 1}")
                        self.stack.append(data[start:end].decode("utf-8", "surrogatepass"))
                        continue
                    if code == LONG_GET:
                        value = memo[self.number(_UINT)]
                        if type(value) is not Symbol or value.whole is None or not value.whole():
                            self.stack.append(value)
                        continue
                    if code == STOP:
                        return self.stack.pop()
                    step = steps[code]
                    if step is None:
                        raise MalformedPickle(f"opcode {code:#04x} at byte {self.position - 1}, which none of its kind has")
                    step(self)
                self.look_at_clock()
        except (IndexError, KeyError, struct.error, UnicodeDecodeError, OverflowError, TypeError, AttributeError) as error:
            what = "it is cut short" if self.position >= len(data) else f"nonsense at byte {self.position}"
            raise MalformedPickle(f"{what} ({type(error).__name__})") from error

    def look_at_clock(self) -> None:
        """Raises MalformedPickle when the time is up."""
        if time.thread_time() > self._limit_s:
            raise MalformedPickle("it takes too long to read")

    def spend(self, count: int = 1) -> None:
        """Count containers, or the elements of one that is copied."""
        self._containers -= count
        if self._containers < 0:
            raise MalformedPickle("it holds more containers than a pickle of its length needs")

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        start, self.position = self.position, self.position + count
        if self.position > len(self.data):
            raise MalformedPickle(f"{count} bytes are said to follow byte {start - 1}")
        return self.data[start : self.position]

    def number(self, layout: struct.Struct) -> Any:
        """The next number of a fixed layout."""
        (value,) = layout.unpack_from(self.data, self.position)
        self.position += layout.size
        return value

    def remember(self, index: int) -> None:
        """Keep what is on top of the stack. Picklers number from 0 on, and Python's unpickler makes room up to the number.

        What is kept stays: `sound` goes by where objects are in memory.
        """
        if index != len(self.memo):
            raise MalformedPickle(f"memo index {index} at byte {self.position - 1}, out of turn")
        self.memo.append(self.stack[-1])

    def protocol(self) -> None:
        if self.take(1)[0] > 5:
            raise MalformedPickle("a pickle protocol that is not known yet")

    def frame(self) -> None:
        self.take(8)

    def put_line(self) -> None:
        text = self.line()
        if not (text.isdigit() and text.isascii() and len(text) < 20):  # int() reads more than picklers write
            raise MalformedPickle(f"a memo index that no pickler writes at byte {self.position}")
        self.remember(int(text))

    def get_line(self) -> None:
        text = self.line()
        if not (text.isdigit() and text.isascii() and len(text) < 20):
            raise MalformedPickle(f"a memo index that no pickler writes at byte {self.position}")
        self.stack.append(self.memo[int(text)])

    def mark(self) -> None:
        if len(self._below) >= MOST_DEPTH:
            raise MalformedPickle("it is nested too deep")
        self._below.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[Any]:
        """What lies above the last mark, which is taken away."""
        items, self.stack = self.stack, self._below.pop()
        return items

    def line(self) -> str:
        """The text up to the next end of line."""
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise MalformedPickle("it is cut short")
        text = self.data[self.position : end].decode()
        self.position = end + 1
        return text

    def text(self, length: int) -> None:
        self.stack.append(self.take(length).decode("utf-8", "surrogatepass"))

    def escaped_text(self) -> None:
        end = self.data.find(b"\n", self.position)
        text = self.data[self.position : end] if end >= 0 else b"\\"
        if b"\\" in text:
            raise MalformedPickle("an escaped text")
        self.position = end + 1
        self.stack.append(text.decode("latin-1"))

    def long(self, length: int) -> None:
        if not 0 <= length <= LONG_NBYTES:
            raise MalformedPickle(f"a whole number of {length} bytes")
        self.stack.append(int.from_bytes(self.take(length), "little", signed=True))

    def push_container(self, made: Any) -> None:
        self.spend()
        self.stack.append(made)

    def append(self) -> None:
        value = self.stack.pop()
        self._list().append(value)

    def appends(self) -> None:
        items = self.to_mark()
        self._list().extend(items)

    def _list(self) -> list[Any]:
        if type(self.stack[-1]) is not list:
            raise MalformedPickle(f"adds to {_named(self.stack[-1])}")
        return self.stack[-1]  # type: ignore[no-any-return]

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.put_items(self.stack[-1], [key, value])

    def set_items(self) -> None:
        items = self.to_mark()
        self.put_items(self.stack[-1], items)

    def put_items(self, target: Any, items: list[Any]) -> None:
        """Put keys and values, in turn, into a dictionary."""
        if not isinstance(target, dict) or len(items) % 2:
            raise MalformedPickle(f"puts items into {_named(target)}")
        for low in range(0, len(items), CLOCK_STEPS):
            keys = items[low : low + CLOCK_STEPS : 2]
            for key in keys:
                if type(key) is not str and id(key) not in self.sound and not self.hashable(key):
                    raise MalformedPickle(f"a key that is {_named(key)}")
            target.update(zip(keys, items[low + 1 : low + CLOCK_STEPS : 2], strict=True))
            if low:
                self.look_at_clock()  # keys may be chosen to have one hash

    def add_items(self) -> None:
        items = self.to_mark()
        if type(self.stack[-1]) is not set:
            raise MalformedPickle(f"adds to {_named(self.stack[-1])}")
        self.stack[-1].update(self.elements(items))

    def frozen_set(self) -> None:
        items = self.to_mark()
        self.push_container(frozenset(self.elements(items)))

    def elements(self, items: Any) -> Any:
        """The same, if all of them may be in a set."""
        if not isinstance(items, (list, tuple, set, frozenset)) or not all(self.hashable(one) for one in items):
            raise MalformedPickle("a set of what can't be in one")
        if len(items) > MOST_ELEMENTS:
            raise MalformedPickle(f"a set of {len(items)} elements")
        return items

    def marked_tuple(self) -> None:
        items = tuple(self.to_mark())
        self.stack.append(items)

    def last_as_tuple(self, count: int) -> None:
        if len(self.stack) < count:
            raise MalformedPickle("it is cut short")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def name_lines(self) -> None:
        module = self.line()
        self.stack.append(self.find(module, self.line()))

    def name_texts(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise MalformedPickle("a name that is no text")
        self.stack.append(self.find(module, name))

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(arguments, tuple):
            raise MalformedPickle("a call without arguments")
        self.spend()
        self.stack.append(self.call(function, arguments))

    def new_object(self) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        self.spend()
        self.stack.append(self.new(kind, arguments))

    def new_object_named(self) -> None:
        named, arguments, kind = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.spend()
        self.stack.append(self.new(kind, arguments, named))

    def give_state(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Symbol):
            raise ForbiddenName(f"tries to change the class {self.stack[-1].name}")
        self.stack[-1] = self.build(self.stack[-1], state)


def _named(value: Any) -> str:
    return str(value) if isinstance(value, Symbol) else f"a {type(value).__name__}"


STOP, GET, LONG_GET, MEMOIZE, SHORT_TEXT = b"."[0], b"h"[0], b"j"[0], 0x94, 0x8C
_BYTE, _SHORT, _INT, _UINT, _LONG, _FLOAT = (struct.Struct(layout) for layout in ("<B", "<H", "<i", "<I", "<Q", ">d"))
Step = Callable[[PickleMachine], None]
_OPCODES: dict[int, Step] = {
    0x80: PickleMachine.protocol,
    0x95: PickleMachine.frame,
    b"("[0]: PickleMachine.mark,
    b"N"[0]: lambda machine: machine.stack.append(None),
    0x88: lambda machine: machine.stack.append(True),
    0x89: lambda machine: machine.stack.append(False),
    b"K"[0]: lambda machine: machine.stack.append(machine.number(_BYTE)),
    b"M"[0]: lambda machine: machine.stack.append(machine.number(_SHORT)),
    b"J"[0]: lambda machine: machine.stack.append(machine.number(_INT)),
    0x8A: lambda machine: machine.long(machine.number(_BYTE)),
    0x8B: lambda machine: machine.long(machine.number(_INT)),
    b"G"[0]: lambda machine: machine.stack.append(machine.number(_FLOAT)),
    b"V"[0]: PickleMachine.escaped_text,
    b"X"[0]: lambda machine: machine.text(machine.number(_UINT)),
    0x8D: lambda machine: machine.text(machine.number(_LONG)),
    b"C"[0]: lambda machine: machine.stack.append(machine.take(machine.number(_BYTE))),
    b"B"[0]: lambda machine: machine.stack.append(machine.take(machine.number(_UINT))),
    0x8E: lambda machine: machine.stack.append(machine.take(machine.number(_LONG))),
    0x96: lambda machine: machine.push_container(bytearray(machine.take(machine.number(_LONG)))),
    b"]"[0]: lambda machine: machine.push_container([]),
    b"}"[0]: lambda machine: machine.push_container({}),
    0x8F: lambda machine: machine.push_container(set()),
    b")"[0]: lambda machine: machine.stack.append(()),
    b"a"[0]: PickleMachine.append,
    b"e"[0]: PickleMachine.appends,
    b"s"[0]: PickleMachine.set_item,
    b"u"[0]: PickleMachine.set_items,
    0x90: PickleMachine.add_items,
    0x91: PickleMachine.frozen_set,
    b"t"[0]: PickleMachine.marked_tuple,
    0x85: lambda machine: machine.last_as_tuple(1),
    0x86: lambda machine: machine.last_as_tuple(2),
    0x87: lambda machine: machine.last_as_tuple(3),
    b"c"[0]: PickleMachine.name_lines,
    0x93: PickleMachine.name_texts,
    b"R"[0]: PickleMachine.reduce,
    0x81: PickleMachine.new_object,
    0x92: PickleMachine.new_object_named,
    b"b"[0]: PickleMachine.give_state,
    b"g"[0]: lambda machine: machine.get_line(),
    b"p"[0]: PickleMachine.put_line,
    b"q"[0]: lambda machine: machine.remember(machine.number(_BYTE)),
    b"r"[0]: lambda machine: machine.remember(machine.number(_UINT)),
    b"Q"[0]: lambda machine: machine.stack.append(machine.persistent(machine.stack.pop())),
}
"""What picklers of protocol 2 and later write, and the two text forms that hand-made attacks begin with."""
_STEPS: list[Step | None] = [_OPCODES.get(code) for code in range(256)]
