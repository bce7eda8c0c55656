"""Looks through the pickle of a saved value for anything but data, so that an unrestricted unpickler may have it.

Nothing is built: a call becomes a note of what it would make. Allowed are the plain types of Python, numpy's arrays, numbers and
random generators, torch's tensors, enumerations of modules that are loaded already, and classes that the user allows. The order
of opcodes, marks and memo is followed as the unpickler does it; what it reads otherwise is refused.
"""

from __future__ import annotations

import enum
import re
import sys
from collections.abc import Callable
from typing import Any

import torch

from millrace.checkpoint.formats.array_rules import (
    Made,
    are_numbers,
    are_scalars,
    dtype_nbytes,
    is_array_call,
    is_array_state,
    is_bytes,
    is_dtype_call,
    is_dtype_state,
    is_generator,
    is_generator_class,
    is_made,
    is_masked_call,
    is_masked_state,
    is_named,
    is_seed,
)
from millrace.checkpoint.formats.pickle_machine import ForbiddenName, MalformedPickle, PickleMachine, Symbol

BYTES_PER_COPY = 16
"""A call with so many bytes or elements as its argument counts as one container more: it may copy them."""
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg", "numpy.core.multiarray": "numpy._core.multiarray"}
_PATHS = ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
_PLAIN_CLASSES = ("int", "float", "str", "bool", "list", "dict", "set", "tuple", "bytes", "frozenset", "complex", "bytearray")
_FACTORIES = (
    *(f"builtins.{name}" for name in _PLAIN_CLASSES),
    "collections.OrderedDict",
    "collections.Counter",
    "collections.deque",
)
_OLD_NAMES = {"xrange": "range", "long": "int", "unicode": "str"}
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,3}")


def _is_factory(kind: Any) -> bool:
    return is_named(kind, *_FACTORIES)


def _is_bit_generator(kind: Any) -> bool:
    return is_generator(kind) or is_generator_class(kind)


Rule = Callable[..., bool]


def _is_texts(*parts: Any) -> bool:
    return all(isinstance(part, str) for part in parts)


_PATH_CALLS: dict[str, tuple[str, Rule]] = {
    f"{module}.{name}": ("path", _is_texts) for module in ("pathlib", "pathlib._local") for name in _PATHS
}
CALLS: dict[str, tuple[str, Rule]] = {
    "builtins.set": ("set", lambda values=(): isinstance(values, (list, tuple))),
    "builtins.frozenset": ("frozenset", lambda values=(): isinstance(values, (list, tuple))),
    "builtins.bytearray": ("bytearray", lambda *values: all(is_bytes(value) for value in values)),
    "builtins.bytes": ("bytes", lambda: True),
    "builtins.complex": ("number", are_scalars),
    "builtins.range": ("range", lambda *values: are_numbers(values)),
    "builtins.slice": ("slice", are_scalars),
    "_codecs.encode": ("bytes", lambda text, code: isinstance(text, str) and code in ("latin1", "latin-1")),
    "collections.OrderedDict": ("dict", lambda: True),
    "collections.Counter": ("dict", lambda values=None: values is None or type(values) is dict),
    "collections.defaultdict": ("dict", lambda kind=None: kind is None or _is_factory(kind)),
    "collections.deque": ("deque", lambda values=(), most=None: values in ((), []) and (most is None or type(most) is int)),
    "datetime.datetime": ("time", are_scalars),
    "datetime.date": ("time", are_scalars),
    "datetime.time": ("time", are_scalars),
    "datetime.timedelta": ("time", are_scalars),
    "datetime.timezone": ("time", are_scalars),
    "decimal.Decimal": ("number", lambda text: isinstance(text, str) and len(text) < 10_000),
    "fractions.Fraction": ("number", lambda *values: are_scalars(*values) and all(len(str(value)) < 4000 for value in values)),
    "uuid.UUID": ("uuid", lambda: True),
    "time.struct_time": ("time", lambda values, more: isinstance(values, tuple) and are_scalars(*values) and _flat_values(more)),
    "array.array": ("numbers", lambda code, values: isinstance(code, str) and len(code) == 1 and _is_row(values)),
    "random.Random": ("python's generator", lambda: True),
    "types.SimpleNamespace": ("namespace", lambda: True),
    "argparse.Namespace": ("namespace", lambda: True),
    "builtins.type": ("word", lambda value: value is None),
    "torch.torch_version.TorchVersion": ("text", lambda text: isinstance(text, str)),
    "torch.Size": ("shape", lambda values=(): are_numbers(values)),
    "torch.device": ("device", are_scalars),
    "torch.serialization._get_layout": ("layout", lambda name: isinstance(name, str)),
    "torch._utils._rebuild_tensor_v2": ("tensor", lambda *values: len(values) >= 6 and is_made(values[0], "storage")),
    "torch._utils._rebuild_tensor_v3": ("tensor", lambda *values: len(values) >= 7 and is_made(values[0], "storage")),
    "torch._utils._rebuild_parameter": ("tensor", lambda *values: bool(values) and is_made(values[0], "tensor")),
    "numpy.dtype": ("dtype", is_dtype_call),
    "numpy._core.multiarray._reconstruct": ("array", is_array_call),
    "numpy.ma.core._mareconstruct": ("masked array", is_masked_call),
    "numpy._core.multiarray.scalar": ("number", lambda dtype, data: is_made(dtype, "dtype") and is_bytes(data)),
    "numpy.random._pickle.__bit_generator_ctor": (
        "generator",
        lambda kind="MT19937": is_generator(kind) or is_generator_class(kind),
    ),
    "numpy.random._pickle.__generator_ctor": ("generator", is_generator),
    "numpy.random._pickle.__randomstate_ctor": ("generator", is_generator),
    "numpy.random.bit_generator.__pyx_unpickle_SeedSequence": ("seed", is_seed),
    **_PATH_CALLS,
}
"""By name, what a call makes and whether its arguments are those that a pickler writes."""


def _flat_values(state: Any) -> bool:
    return isinstance(state, dict) and all(are_scalars(value) for value in state.values())


def _is_row(values: Any) -> bool:
    return is_bytes(values) or (type(values) is list and all(type(one) in (int, float) for one in values))


def _is_random_state(state: Any) -> bool:
    return isinstance(state, tuple) and len(state) == 3 and state[0] == 3 and are_numbers(state[1]) and are_scalars(state[2])


STATES: dict[str, Callable[[Any], bool]] = {
    "array": is_array_state,
    "masked array": is_masked_state,
    "uuid": _flat_values,
    "namespace": lambda state: isinstance(state, dict) and all(isinstance(name, str) for name in state),
    "python's generator": _is_random_state,
    "generator": lambda state: isinstance(state, (dict, tuple)),
    "seed": lambda state: isinstance(state, (tuple, dict)) or state is None,
}
_SYMBOLS = re.compile(
    rf"builtins\.({'|'.join(_PLAIN_CLASSES)}|object)|zoneinfo\.ZoneInfo|numpy\.random\.bit_generator\.SeedSequence"
    r"|numpy\.(ndarray|matrix|matrixlib\.defmatrix\.matrix|rec\.recarray|recarray|record|ma\.(core\.)?MaskedArray)"
    r"|numpy\.(u?int\d+|float\d+|complex\d+|bool_?|str_|bytes_|datetime64|timedelta64)"
)
_STORAGE = re.compile(r"torch(\.storage)?\.\w+Storage")


class ValueMachine(PickleMachine):
    """Raises MalformedPickle where a pickle is more than data.

    Args:
        data: the pickle.
        allow: classes of the user's own.
    """

    def __init__(self, data: bytes, allow: tuple[type, ...] = ()) -> None:
        super().__init__(data)
        self._getattr_is_loose = False
        self._allow = {f"{kind.__module__}.{kind.__qualname__}" for kind in allow}

    def run(self) -> Any:
        value = super().run()
        if self._getattr_is_loose:
            raise ForbiddenName("asks for 'builtins.getattr'")
        return value

    def find(self, module: str, name: str) -> Any:
        module = _RENAMED.get(module, module)
        symbol = Symbol(module, _OLD_NAMES.get(name, name) if module == "builtins" else name)
        text = str(symbol)
        if text in ("builtins.Ellipsis", "builtins.NotImplemented"):
            return Made("word")
        if text == "builtins.getattr":
            self._getattr_is_loose = True
            return Made("getattr")
        if text in self._allow or text in CALLS or _SYMBOLS.fullmatch(text) or _STORAGE.fullmatch(text):
            return symbol
        if symbol.module == "torch" and isinstance(getattr(torch, name, None), (torch.dtype, torch.layout)):
            return Made("word")
        if is_generator_class(symbol) or _is_enum(module, name):
            return symbol
        raise ForbiddenName(f"asks for '{module}.{name}'")

    def call(self, function: Any, arguments: Any) -> Any:
        name = str(function) if isinstance(function, Symbol) else ""
        for one in arguments:
            self.spend(len(one) // BYTES_PER_COPY if isinstance(one, (str, bytes, list, tuple, dict)) else 0)
        if name in self._allow:
            return Made("own")
        if is_made(function, "getattr", "zone maker"):
            return self._zone(function, arguments)
        if isinstance(function, Symbol) and _is_enum(function.module, function.name):
            if len(arguments) != 1 or not (are_scalars(*arguments) or isinstance(arguments[0], tuple)):
                raise MalformedPickle(f"makes a {name} of more than a value")
            return Made("enum")
        if name not in CALLS:
            return super().call(function, arguments)
        kind, rule = CALLS[name]
        try:
            fits = rule(*arguments)
        except TypeError as error:
            raise MalformedPickle(f"calls {name} as no pickler does") from error
        if not fits:
            raise MalformedPickle(f"calls {name} as no pickler does")
        if kind in ("set", "frozenset"):
            for values in arguments:
                self.elements(values)
        made = Made(kind)
        if kind == "dtype":
            made.nbytes = dtype_nbytes(arguments[0])
        return made

    def _zone(self, function: Made, arguments: tuple[Any, ...]) -> Any:
        """A time zone is pickled as a call of `getattr(ZoneInfo, "_unpickle")`, and nothing else may ask for an attribute."""
        if function.kind == "zone maker":
            if len(arguments) == 2 and isinstance(arguments[0], str) and _ZONE.fullmatch(arguments[0]) and arguments[1] in (0, 1):
                return Made("time")
            raise MalformedPickle("a time zone of no name")
        if len(arguments) != 2 or not is_named(arguments[0], "zoneinfo.ZoneInfo") or arguments[1] != "_unpickle":
            raise ForbiddenName("asks for an attribute")
        self._getattr_is_loose = False
        return Made("zone maker")

    def new(self, kind: Any, arguments: Any, named: Any = None) -> Any:
        name = str(kind) if isinstance(kind, Symbol) else ""
        if name in self._allow:
            return Made("own")
        if name in CALLS and not named and isinstance(arguments, tuple):
            return self.call(kind, arguments)
        return super().new(kind, arguments, named)

    def build(self, made: Any, state: Any) -> Any:
        if is_made(made, "own"):
            return made
        if is_made(made, "dtype"):
            if not is_dtype_state(made, state):
                raise MalformedPickle("a dtype that numpy does not write")
            return made
        rule = STATES.get(made.kind) if isinstance(made, Made) else None
        if rule is None or not rule(state):
            return super().build(made, state)
        if isinstance(state, tuple):
            self.spend(sum(len(one) // BYTES_PER_COPY for one in state if isinstance(one, (str, bytes))))
        return made

    def persistent(self, reference: Any) -> Any:
        if not isinstance(reference, tuple) or len(reference) != 5 or reference[0] != "storage":
            return super().persistent(reference)
        if not (isinstance(reference[1], Symbol) and _STORAGE.fullmatch(str(reference[1])) and are_scalars(*reference[2:])):
            return super().persistent(reference)
        return Made("storage")

    def hashable(self, value: Any) -> bool:
        parts = value if isinstance(value, tuple) else (value,)
        return len(parts) <= 64 and all(isinstance(part, Made) or super(ValueMachine, self).hashable(part) for part in parts)

    def put_items(self, target: Any, items: list[Any]) -> None:
        super().put_items({} if is_made(target, "dict", "own") else target, items)

    def _list(self) -> list[Any]:
        return [] if is_made(self.stack[-1], "deque", "own") else super()._list()


def _is_enum(module: str, name: str) -> bool:
    """Whether it is an enumeration that this program has: nothing is imported for it."""
    kind: Any = sys.modules.get(module)
    for part in name.split("."):
        kind = getattr(kind, "__dict__", {}).get(part)
    return isinstance(kind, type) and issubclass(kind, enum.Enum)
