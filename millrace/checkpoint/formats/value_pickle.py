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

from millrace.checkpoint.formats.pickle_machine import ForbiddenName, MalformedPickle, PickleMachine, Symbol

BYTES_PER_COPY = 16
"""A call with so many bytes or elements as its argument counts as one container more: it may copy them."""
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg", "numpy.core.multiarray": "numpy._core.multiarray"}
_PLAIN_DTYPE = re.compile(r"[biufc]\d{1,2}|\?|[SU]\d{1,9}|[mM]8")
_PATHS = ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
_FACTORIES = ("int", "float", "str", "bool", "list", "dict", "set", "tuple", "bytes")
_GENERATOR_CLASSES = {
    f"numpy.random.{module}.{name}": name
    for module, name in (
        ("_mt19937", "MT19937"),
        ("_pcg64", "PCG64"),
        ("_pcg64", "PCG64DXSM"),
        ("_philox", "Philox"),
        ("_sfc64", "SFC64"),
    )
}
_GENERATORS = tuple(_GENERATOR_CLASSES.values())


class Made:
    """What a call would make."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


def _is(value: Any, *kinds: str) -> bool:
    return isinstance(value, Made) and value.kind in kinds


def _is_bytes(value: Any) -> bool:
    return isinstance(value, (bytes, str)) or _is(value, "bytes")


def _scalars(*values: Any) -> bool:
    return all(value is None or isinstance(value, (str, int, float, bytes, Made)) for value in values)


def _numbers(values: Any) -> bool:
    return isinstance(values, (tuple, list)) and all(type(value) is int for value in values)


def _dtype(*values: Any) -> bool:
    return bool(values) and isinstance(values[0], str) and bool(_PLAIN_DTYPE.fullmatch(values[0])) and _scalars(*values[1:3])


def _seed(*values: Any) -> bool:
    return all(_scalars(value) or _is_named(value, "numpy.random.bit_generator") for value in values)


def _is_named(value: Any, module: str) -> bool:
    return isinstance(value, Symbol) and value.module.startswith(module)


def _is_factory(kind: Any) -> bool:
    return _is_named(kind, "builtins") and kind.name in _FACTORIES


def _generated(kind: Any = "MT19937", *_: Any) -> bool:
    return _is(kind, "generator") or (isinstance(kind, str) and kind in _GENERATORS)


Rule = Callable[..., bool]


def _is_texts(*parts: Any) -> bool:
    return all(isinstance(part, str) for part in parts)


_PATH_CALLS: dict[str, tuple[str, Rule]] = {
    f"{module}.{name}": ("path", _is_texts) for module in ("pathlib", "pathlib._local") for name in _PATHS
}
CALLS: dict[str, tuple[str, Rule]] = {
    "builtins.set": ("set", lambda values=(): isinstance(values, (list, tuple))),
    "builtins.frozenset": ("frozenset", lambda values=(): isinstance(values, (list, tuple))),
    "builtins.bytearray": ("bytearray", lambda *values: all(_is_bytes(value) for value in values)),
    "builtins.bytes": ("bytes", lambda: True),
    "builtins.complex": ("number", _scalars),
    "builtins.range": ("range", lambda *values: _numbers(values)),
    "builtins.slice": ("slice", _scalars),
    "_codecs.encode": ("bytes", lambda text, code: isinstance(text, str) and code in ("latin1", "latin-1")),
    "collections.OrderedDict": ("dict", lambda: True),
    "collections.Counter": ("dict", lambda values=None: values is None or type(values) is dict),
    "collections.defaultdict": ("dict", lambda kind=None: kind is None or _is_factory(kind)),
    "collections.deque": ("deque", lambda values=(), most=None: values in ((), []) and (most is None or type(most) is int)),
    "datetime.datetime": ("time", _scalars),
    "datetime.date": ("time", _scalars),
    "datetime.time": ("time", _scalars),
    "datetime.timedelta": ("time", _scalars),
    "datetime.timezone": ("time", _scalars),
    "decimal.Decimal": ("number", lambda text: isinstance(text, str) and len(text) < 10_000),
    "fractions.Fraction": ("number", lambda *values: _scalars(*values) and all(len(str(value)) < 4000 for value in values)),
    "uuid.UUID": ("uuid", lambda: True),
    "torch.Size": ("shape", lambda values=(): _numbers(values)),
    "torch.device": ("device", _scalars),
    "torch.serialization._get_layout": ("layout", lambda name: isinstance(name, str)),
    "torch._utils._rebuild_tensor_v2": ("tensor", lambda *values: len(values) >= 6 and _is(values[0], "storage")),
    "torch._utils._rebuild_tensor_v3": ("tensor", lambda *values: len(values) >= 7 and _is(values[0], "storage")),
    "torch._utils._rebuild_parameter": ("tensor", lambda *values: bool(values) and _is(values[0], "tensor")),
    "numpy.dtype": ("dtype", _dtype),
    "numpy._core.multiarray._reconstruct": (
        "array",
        lambda kind, shape, code: str(kind) == "numpy.ndarray" and shape == (0,) and _is_bytes(code),
    ),
    "numpy._core.multiarray.scalar": ("number", lambda dtype, data: _is(dtype, "dtype") and _is_bytes(data)),
    "numpy.random._pickle.__bit_generator_ctor": ("generator", lambda kind="MT19937": kind in _GENERATORS or _is_generator(kind)),
    "numpy.random._pickle.__generator_ctor": ("generator", _generated),
    "numpy.random._pickle.__randomstate_ctor": ("generator", _generated),
    "numpy.random.bit_generator.__pyx_unpickle_SeedSequence": ("seed", _seed),
    **_PATH_CALLS,
}
"""By name, what a call makes and whether its arguments are those that a pickler writes."""


def _is_generator(kind: Any) -> bool:
    return isinstance(kind, Symbol) and str(kind) in _GENERATOR_CLASSES


def _array_state(state: Any) -> bool:
    if not isinstance(state, tuple) or len(state) != 5:
        return False
    version, shape, dtype, order, data = state
    return version == 1 and _numbers(shape) and _is(dtype, "dtype") and _scalars(order) and _is_bytes(data)


def _dtype_state(state: Any) -> bool:
    if not isinstance(state, tuple) or not 8 <= len(state) <= 9 or state[1] not in ("<", ">", "|", "="):
        return False
    unit = state[8] if len(state) == 9 else ({}, ())
    plain_unit = (
        isinstance(unit, tuple) and len(unit) == 2 and unit[0] in ({}, None) and isinstance(unit[1], tuple) and _scalars(*unit[1])
    )
    sizes = state[5:8]
    return state[2:5] == (None, None, None) and _numbers(sizes) and all(-1 <= size < 1 << 31 for size in sizes) and plain_unit


def _flat_values(state: Any) -> bool:
    return isinstance(state, dict) and all(_scalars(value) for value in state.values())


STATES: dict[str, Callable[[Any], bool]] = {
    "array": _array_state,
    "dtype": _dtype_state,
    "uuid": _flat_values,
    "generator": lambda state: isinstance(state, (dict, tuple)),
    "seed": lambda state: isinstance(state, (tuple, dict)) or state is None,
}
_SYMBOLS = re.compile(
    r"builtins\.(int|float|str|bool|list|dict|tuple|bytes)|numpy\.ndarray|numpy\.random\.bit_generator\.SeedSequence"
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
        self._allow = {f"{kind.__module__}.{kind.__qualname__}" for kind in allow}

    def find(self, module: str, name: str) -> Any:
        symbol = Symbol(_RENAMED.get(module, module), "range" if name == "xrange" else name)
        text = str(symbol)
        if text in self._allow or text in CALLS or _SYMBOLS.fullmatch(text) or _STORAGE.fullmatch(text):
            return symbol
        if symbol.module == "torch" and isinstance(getattr(torch, name, None), (torch.dtype, torch.layout)):
            return Made("word")
        if _is_generator(symbol) or _is_enum(module, name):
            return symbol
        raise ForbiddenName(f"asks for '{module}.{name}'")

    def call(self, function: Any, arguments: Any) -> Any:
        name = str(function) if isinstance(function, Symbol) else ""
        for one in arguments:
            self.spend(len(one) // BYTES_PER_COPY if isinstance(one, (str, bytes, list, tuple, dict)) else 0)
        if name in self._allow:
            return Made("own")
        if isinstance(function, Symbol) and _is_enum(function.module, function.name):
            if len(arguments) != 1 or not (_scalars(*arguments) or isinstance(arguments[0], tuple)):
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
        return Made(kind)

    def new(self, kind: Any, arguments: Any, named: Any = None) -> Any:
        name = str(kind) if isinstance(kind, Symbol) else ""
        if name in self._allow:
            return Made("own")
        if name in CALLS and not named and isinstance(arguments, tuple):
            return self.call(kind, arguments)
        return super().new(kind, arguments, named)

    def build(self, made: Any, state: Any) -> Any:
        if _is(made, "own"):
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
        if not (isinstance(reference[1], Symbol) and _STORAGE.fullmatch(str(reference[1])) and _scalars(*reference[2:])):
            return super().persistent(reference)
        return Made("storage")

    def hashable(self, value: Any) -> bool:
        parts = value if isinstance(value, tuple) else (value,)
        return len(parts) <= 64 and all(isinstance(part, Made) or super(ValueMachine, self).hashable(part) for part in parts)

    def put_items(self, target: Any, items: list[Any]) -> None:
        super().put_items({} if _is(target, "dict", "own") else target, items)

    def _list(self) -> list[Any]:
        return [] if _is(self.stack[-1], "deque", "own") else super()._list()


def _is_enum(module: str, name: str) -> bool:
    """Whether it is an enumeration that this program has: nothing is imported for it."""
    kind: Any = sys.modules.get(module)
    for part in name.split("."):
        kind = getattr(kind, "__dict__", {}).get(part)
    return isinstance(kind, type) and issubclass(kind, enum.Enum)
