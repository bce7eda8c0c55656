"""What numpy's picklers write of arrays, dtypes and random generators: anything else could make an array lie about its memory.

numpy believes a pickled dtype: fields that reach over the element's end, or flags that call numbers pointers, are read as they
stand. So sizes are added up and flags compared with those that numpy itself gives to such dtypes.
"""

from __future__ import annotations

import re
from math import prod
from typing import Any

from millrace.checkpoint.formats.pickle_machine import Symbol

_PLAIN = re.compile(r"[biufc]\d{1,2}|\?|[mM]8")
_SIZED = re.compile(r"([SUV])(\d{1,9})")
_CHARACTER_NBYTES = {"S": 1, "U": 4, "V": 1}
_ALIGNMENTS = (-1, 1, 2, 4, 8, 16, 32)
_SAFE_FLAGS = 8 | 16 | 128
"""Texts (8), records (16) and aligned records (128, in old pickles a negative byte). Others say that elements are pointers."""
_ARRAYS = ("numpy.ndarray", "numpy.matrix", "numpy.matrixlib.defmatrix.matrix", "numpy.rec.recarray", "numpy.recarray")
RECORD = "numpy.record"
GENERATOR_CLASSES = {
    f"numpy.random.{module}.{name}": name
    for module, name in (
        ("_mt19937", "MT19937"),
        ("_pcg64", "PCG64"),
        ("_pcg64", "PCG64DXSM"),
        ("_philox", "Philox"),
        ("_sfc64", "SFC64"),
    )
}


class Made:
    """What a call would make."""

    __slots__ = ("kind", "nbytes")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.nbytes: int | None = None
        """Of a dtype: how long one element is; None: its state has to say it."""


def is_made(value: Any, *kinds: str) -> bool:
    """Whether a call of one of these kinds made it."""
    return isinstance(value, Made) and value.kind in kinds


def is_bytes(value: Any) -> bool:
    """Whether it is bytes, or a text that an old pickle made of them."""
    return isinstance(value, (bytes, str)) or is_made(value, "bytes")


def are_scalars(*values: Any) -> bool:
    """Whether all are single values."""
    return all(value is None or isinstance(value, (str, int, float, bytes, Made)) for value in values)


def are_numbers(values: Any) -> bool:
    """Whether it is a row of integers."""
    return isinstance(values, (tuple, list)) and all(type(value) is int for value in values)


def is_named(value: Any, *names: str) -> bool:
    """Whether it is one of these classes or functions."""
    return isinstance(value, Symbol) and str(value) in names


def is_dtype_call(*values: Any) -> bool:
    """Whether `numpy.dtype` is called as its pickler does."""
    if not values or not are_scalars(*values[1:3]):
        return False
    text = values[0]
    return is_named(text, RECORD) or (isinstance(text, str) and bool(_PLAIN.fullmatch(text) or _SIZED.fullmatch(text)))


def dtype_nbytes(text: Any) -> int | None:
    """How long an element is by what `numpy.dtype` is called with; None: it does not say."""
    if not isinstance(text, str):
        return None
    sized = _SIZED.fullmatch(text)
    if sized:
        return _CHARACTER_NBYTES[sized[1]] * int(sized[2])
    return 1 if text == "?" else int(text[1:])


def is_dtype_state(dtype: Made, state: Any) -> bool:
    """Whether a dtype's state is one that numpy writes; notes how long an element is."""
    if not isinstance(state, tuple) or not 8 <= len(state) <= 9 or state[0] not in (3, 4) or state[1] not in ("<", ">", "|", "="):
        return False
    inner, names, fields, nbytes, alignment, flags = state[2:8]
    if not are_numbers(state[5:8]) or alignment not in _ALIGNMENTS or not -128 <= flags < 256 or flags & 255 & ~_SAFE_FLAGS:
        return False
    if dtype.nbytes is None and nbytes >= 0:
        dtype.nbytes = nbytes
    if nbytes not in (-1, dtype.nbytes) or dtype.nbytes is None:
        return False
    unit = state[8] if len(state) == 9 else (None, ())
    if not (isinstance(unit, tuple) and len(unit) == 2 and unit[0] in ({}, None) and _are_units(unit[1])):
        return False
    if inner is not None:
        return names is None and fields is None and _is_repeated(inner, dtype.nbytes)
    return (names is None and fields is None) or _are_fields(names, fields, dtype.nbytes)


def _are_units(values: Any) -> bool:
    return isinstance(values, tuple) and are_scalars(*values)


def _is_repeated(inner: Any, nbytes: int) -> bool:
    if not isinstance(inner, tuple) or len(inner) != 2 or not is_made(inner[0], "dtype") or inner[0].nbytes is None:
        return False
    shape = inner[1] if isinstance(inner[1], tuple) else (inner[1],)
    return are_numbers(shape) and all(size >= 0 for size in shape) and inner[0].nbytes * prod(shape) == nbytes


def _are_fields(names: Any, fields: Any, nbytes: int) -> bool:
    if not isinstance(names, tuple) or not isinstance(fields, dict) or set(fields) != set(names):
        return False
    for name, field in fields.items():
        if not isinstance(name, str) or not isinstance(field, tuple) or len(field) != 2 or not is_made(field[0], "dtype"):
            return False
        end = field[0].nbytes
        if end is None or type(field[1]) is not int or not 0 <= field[1] <= nbytes - end:
            return False
    return True


def is_array_call(kind: Any, shape: Any, code: Any) -> bool:
    """Whether an empty array is made, to be filled by its state."""
    return is_named(kind, *_ARRAYS) and shape == (0,) and is_bytes(code)


def is_masked_call(kind: Any, inner: Any, shape: Any, code: Any) -> bool:
    """The same of an array with a mask."""
    return is_named(kind, "numpy.ma.MaskedArray", "numpy.ma.core.MaskedArray") and is_array_call(inner, shape, code)


def is_array_state(state: Any) -> bool:
    """Whether an array's state is its shape, dtype, order and bytes."""
    if not isinstance(state, tuple) or len(state) != 5:
        return False
    version, shape, dtype, order, data = state
    return version == 1 and are_numbers(shape) and is_made(dtype, "dtype") and are_scalars(order) and is_bytes(data)


def is_masked_state(state: Any) -> bool:
    """The same, with the mask's bytes and the value for what is masked."""
    return (
        isinstance(state, tuple)
        and len(state) == 7
        and is_array_state(state[:5])
        and is_bytes(state[5])
        and are_scalars(state[6])
    )


def is_seed(*values: Any) -> bool:
    """Whether a seed sequence is made of single values."""
    return all(
        are_scalars(value) or (isinstance(value, Symbol) and value.module.startswith("numpy.random.bit_generator"))
        for value in values
    )


def is_generator_class(kind: Any) -> bool:
    """Whether it is one of numpy's bit generators."""
    return is_named(kind, *GENERATOR_CLASSES)


def is_generator(kind: Any = "MT19937", *_: Any) -> bool:
    """Whether a generator is made over one of numpy's bit generators."""
    return is_made(kind, "generator") or (isinstance(kind, str) and kind in GENERATOR_CLASSES.values())
