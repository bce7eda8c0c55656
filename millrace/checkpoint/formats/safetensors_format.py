"""The safetensors file format: eight bytes of length, a JSON header, the tensors' bytes.

Written down at https://huggingface.co/docs/safetensors. Read and written here so that nothing else is needed for it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, TypedDict

import torch

MAX_HEADER = 100_000_000
"""The format's own limit on the header's length in bytes."""
SHARDING_KEY = "DCP_SHARDING_INFO"
"""Where torch's writer puts each shard's offsets inside the full tensor."""

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "U16": torch.uint16,
    "I16": torch.int16,
    "U32": torch.uint32,
    "I32": torch.int32,
    "U64": torch.uint64,
    "I64": torch.int64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "C64": torch.complex64,
}
if hasattr(torch, "float8_e8m0fnu"):
    DTYPES["F8_E8M0"] = torch.float8_e8m0fnu
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class SafetensorsError(ValueError):
    """The bytes are not a safetensors file."""


@dataclass(frozen=True)
class SavedTensor:
    """One tensor of a file."""

    name: str
    dtype: torch.dtype | None
    """None: one that torch has no name for; `dtype_name` is the file's."""
    dtype_name: str
    sizes: tuple[int, ...]
    start: int
    """Byte offset of its data from the start of the header."""
    nbytes: int
    offsets: tuple[int, ...]
    """Where this shard begins inside the full tensor; zeros for a whole tensor."""


@dataclass(frozen=True)
class SafetensorsHeader:
    """What a file holds."""

    tensors: dict[str, SavedTensor]
    metadata: dict[str, str]
    nbytes: int
    """Length of header and data: what the file must have at least."""


def header_length(first: bytes) -> int:
    """The length of the JSON header from the first eight bytes.

    Raises:
        SafetensorsError: the bytes can't begin a safetensors file.
    """
    if len(first) < 8:
        raise SafetensorsError("shorter than eight bytes")
    (length,) = struct.unpack("<Q", first[:8])
    if not 2 <= length <= MAX_HEADER:
        raise SafetensorsError(f"a header of {length} bytes")
    return int(length)


def parse_header(header: bytes) -> SafetensorsHeader:
    """Read the JSON header (without the eight bytes before it), strictly.

    Raises:
        SafetensorsError: it isn't one, or its offsets don't fit the shapes. An unknown dtype is none of these: it matters only
            to who wants that tensor.
    """
    try:
        entries = json.loads(header, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise SafetensorsError(f"the header is not JSON: {error}") from error
    if not isinstance(entries, dict):
        raise SafetensorsError("the header is not a mapping")
    metadata = entries.pop("__metadata__", {})
    shards = _sharding(metadata)
    base = 8 + len(header)
    tensors = {name: _tensor(name, entry, base, shards) for name, entry in entries.items()}
    _check_layout(tensors, base)
    return SafetensorsHeader(tensors, metadata, max((one.start + one.nbytes for one in tensors.values()), default=base))


def build_header(tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]], metadata: Mapping[str, str]) -> bytes:
    """The bytes before the data of a file that holds `tensors` in this order, padded to a multiple of eight.

    Raises:
        SafetensorsError: a dtype that the format has no name for.
    """
    entries: dict[str, _Entry | dict[str, str]] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name, (dtype, sizes) in tensors.items():
        if dtype not in NAMES:
            raise SafetensorsError(f"'{name}': the format has no {dtype}")
        nbytes = prod(sizes) * dtype.itemsize
        entries[name] = {"dtype": NAMES[dtype], "shape": list(sizes), "data_offsets": [position, position + nbytes]}
        position += nbytes
    header = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header


class _Entry(TypedDict):
    """A tensor in a header."""

    dtype: str
    shape: list[int]
    data_offsets: list[int]


def _no_duplicates(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _sharding(metadata: Any) -> Mapping[str, Any]:
    if not isinstance(metadata, dict):
        raise SafetensorsError("__metadata__ is not a mapping")
    if SHARDING_KEY not in metadata:
        return {}
    try:
        shards = json.loads(metadata[SHARDING_KEY])
    except (TypeError, ValueError) as error:
        raise SafetensorsError(f"{SHARDING_KEY} is not JSON") from error
    return shards if isinstance(shards, dict) else {}


def _tensor(name: str, entry: Any, base: int, shards: Mapping[str, Any]) -> SavedTensor:
    try:
        dtype_name, sizes = str(entry["dtype"]), tuple(entry["shape"])
        dtype = DTYPES.get(dtype_name)
        begin, end = entry["data_offsets"]
        offsets = tuple(shards[name]["saved_offsets"]) if name in shards else (0,) * len(sizes)
    except (TypeError, KeyError, ValueError) as error:
        raise SafetensorsError(f"'{name}': its entry is incomplete") from error
    numbers = (*sizes, *offsets, begin, end)
    if not all(type(number) is int and number >= 0 for number in numbers) or len(offsets) != len(sizes):
        raise SafetensorsError(f"'{name}': its shape or offsets are not whole numbers")
    if end < begin or (dtype is not None and end - begin != prod(sizes) * dtype.itemsize):
        raise SafetensorsError(f"'{name}': {end - begin} bytes for a {dtype_name} of shape {list(sizes)}")
    return SavedTensor(name, dtype, dtype_name, sizes, base + begin, end - begin, offsets)


def _check_layout(tensors: dict[str, SavedTensor], base: int) -> None:
    position = base
    for one in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.nbytes)):
        if one.start != position:
            raise SafetensorsError(f"'{one.name}': a hole or an overlap before its data")
        position += one.nbytes
