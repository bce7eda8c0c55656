"""Finds the raw bytes of a tensor inside a `torch.save` item from the item's first bytes.

An item is a zip of stored entries: `data.pkl` (how to rebuild the tensor), a few one-line entries, then the storage itself
and its descriptor. Two tensors of equal dtype, shape and strides have identical heads, byte for byte. The parser knows exactly
what torch writes and refuses everything else, so a refusal means "let torch read it", never "guess".
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import torch

from millrace.checkpoint.formats.item_pickle import SavedTensor, UnusualItemError, read_tensor_pickle, usual_tensor

HEAD_BYTES = 4096
"""How much of an item is read to find its storage: heads measure 704 bytes for plain tensors (torch 2.13)."""

LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")
_DESCRIPTOR = b"PK\x07\x08"
_STREAMED = 8
"""Zip flag bit 3: CRC and sizes follow the data instead of standing before it."""
_SMALL_ENTRIES = {".format_version": 16, ".storage_alignment": 16, "byteorder": 6}
"""Entries that torch writes between `data.pkl` and the storage, with the most bytes each may have."""


@dataclass(frozen=True)
class Head:
    """Where a saved tensor's numbers are, and how they are laid out."""

    data_offset: int
    """Bytes from the start of the item to the start of the storage."""
    storage_nbytes: int
    """Length of the storage, which may hold more than the tensor."""
    dtype: torch.dtype
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    """In elements."""
    storage_offset: int
    """In elements, from the start of the storage."""
    raw: bytes
    """The head itself: an item with these first bytes has this head."""
    descriptor_nbytes: int
    """How many bytes after the storage hold its signature, CRC and two sizes. 0: none follow (an empty storage has none)."""


def parse_head(data: bytes, item_length: int) -> Head:
    """Parse an item's first bytes.

    Args:
        data: the item's first `HEAD_BYTES` bytes, or all of it when it is shorter.
        item_length: the item's length according to the metadata.

    Raises:
        UnusualItemError: anything that torch doesn't write for a plain tensor, damage included.
    """
    name, start, sized = _local_header(data, 0)
    if not name.endswith("/data.pkl"):
        raise UnusualItemError(f"first entry is '{name}'")
    archive = name.removesuffix("data.pkl")
    tensor, length = read_tensor_pickle(data, start)
    position = _after_entry(data, start, length, sized)
    while True:
        name, start, sized = _local_header(data, position)
        entry = name.removeprefix(archive)
        if entry == f"data/{tensor.key}":
            break
        limit = _SMALL_ENTRIES.get(entry)
        if limit is None:
            raise UnusualItemError(f"unexpected entry '{name}'")
        length = sized if sized is not None else _streamed_length(data, start, limit)
        if entry == "byteorder" and data[start : start + length] != b"little":
            raise UnusualItemError("big-endian bytes")
        position = _after_entry(data, start, length, sized)
    if sized is not None and sized != tensor.nbytes:
        raise UnusualItemError("the storage's length is not the pickle's")
    if start + tensor.nbytes > item_length:
        raise UnusualItemError(f"the storage needs {start + tensor.nbytes} bytes and the item has {item_length}")
    _check_extent(tensor)
    descriptor = 0 if sized is not None or not tensor.nbytes else 24 if tensor.nbytes >= 2**32 - 1 else 16
    raw = bytes(data[:start])
    return Head(start, tensor.nbytes, tensor.dtype, tensor.sizes, tensor.strides, tensor.storage_offset, raw, descriptor)


class HeadParser:
    """`parse_head` for many items: what surrounds the pickle is compared with what was parsed before for the same length."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[bytes, bytes, int]] = {}

    def parse(self, data: bytes, item_length: int) -> Head:
        """As `parse_head`."""
        usual = usual_tensor(data, PICKLE_START) if data.startswith(_FIRST_NAME, LOCAL_HEADER.size) else None
        if usual is None:
            return parse_head(data, item_length)
        tensor, length = usual
        end = PICKLE_START + length
        descriptor = struct.pack("<4sIII", _DESCRIPTOR, zlib.crc32(data[PICKLE_START:end]), length, length)
        before, after, start = self._seen.get(length, (b"", b"", 0))
        same = start and tensor.key == "0" and tensor.nbytes and data.startswith(before) and data.startswith(descriptor, end)
        if not same or not data.startswith(after, end + 16) or start + tensor.nbytes > item_length:
            head = parse_head(data, item_length)
            if data.startswith(descriptor, end) and head.descriptor_nbytes and tensor.key == "0":
                self._seen[length] = data[:PICKLE_START], data[end + 16 : head.data_offset], head.data_offset
            return head
        _check_extent(tensor)
        wide = 24 if tensor.nbytes >= 2**32 - 1 else 16
        raw = data[:start]
        return Head(start, tensor.nbytes, tensor.dtype, tensor.sizes, tensor.strides, tensor.storage_offset, raw, wide)


PICKLE_START = 64
"""Where the pickle begins in an item: torch pads every entry's content to 64 bytes."""
_FIRST_NAME = b"archive/data.pkl"


def check_descriptor(tail: bytes, head: Head) -> int:
    """The CRC-32 in the descriptor that follows the storage; `tail` starts right after it.

    Zero may mean that the writer computed none (`torch.serialization.set_crc32_options(False)`).

    Raises:
        UnusualItemError: there is no descriptor, or its size is not the storage's: the bytes are not where they should be.
    """
    wide = head.descriptor_nbytes == 24
    signature, crc, stored, size = struct.unpack_from("<4sIQQ" if wide else "<4sIII", tail)
    if signature != _DESCRIPTOR or stored != head.storage_nbytes or size != head.storage_nbytes:
        raise UnusualItemError("no matching descriptor after the storage")
    return int(crc)


def _local_header(data: bytes, position: int) -> tuple[str, int, int | None]:
    """An entry's name, where its content starts, and its length (None: it is said only after the content)."""
    if position + LOCAL_HEADER.size > len(data):
        raise UnusualItemError("the head is cut short")
    signature, _, flags, method, _, _, _, stored, size, name_length, extra_length = LOCAL_HEADER.unpack_from(data, position)
    if signature != b"PK\x03\x04":
        raise UnusualItemError("not a zip entry")
    if method != 0 or flags & 1 or stored != size:
        raise UnusualItemError("a compressed or encrypted entry")
    start = position + LOCAL_HEADER.size + name_length + extra_length
    if start > len(data):
        raise UnusualItemError("the head is cut short")
    name = data[position + LOCAL_HEADER.size : position + LOCAL_HEADER.size + name_length]
    return name.decode("utf-8", "replace"), start, None if flags & _STREAMED else size


def _streamed_length(data: bytes, start: int, limit: int) -> int:
    end = data.find(_DESCRIPTOR, start, start + limit + 4)
    if end < 0:
        raise UnusualItemError("no descriptor after a short entry")
    return end - start


def _after_entry(data: bytes, start: int, length: int, sized: int | None) -> int:
    """Check an entry's CRC and sizes; returns where the next one starts."""
    end = start + length
    if sized is not None:
        if sized != length:
            raise UnusualItemError("an entry's length is not its content's")
        return end
    if end + 16 > len(data):
        raise UnusualItemError("the head is cut short")
    signature, crc, stored, size = struct.unpack_from("<4sIII", data, end)
    if signature != _DESCRIPTOR or stored != length or size != length:
        raise UnusualItemError("an entry's descriptor does not match")
    if crc not in (0, zlib.crc32(data[start:end])):
        raise UnusualItemError("an entry's CRC does not match")
    return end + 16


def _check_extent(tensor: SavedTensor) -> None:
    if (
        len(tensor.sizes) != len(tensor.strides)
        or min((*tensor.sizes, *tensor.strides, tensor.storage_offset, tensor.nbytes)) < 0
    ):
        raise UnusualItemError("shape and strides do not belong together")
    if 0 in tensor.sizes:
        return
    last = tensor.storage_offset + sum((size - 1) * stride for size, stride in zip(tensor.sizes, tensor.strides, strict=True))
    if (last + 1) * tensor.dtype.itemsize > tensor.nbytes:
        raise UnusualItemError("the tensor reaches over the end of its storage")
