"""Checks saved bytes against the CRC-32 that `torch.save` stored behind them."""

from __future__ import annotations

import io
import queue
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from millrace.checkpoint.engine.open_files import OpenFiles
from millrace.checkpoint.formats.crc import crc32
from millrace.checkpoint.formats.item_heads import HEAD_BYTES, Head, check_descriptor
from millrace.checkpoint.formats.item_pickle import UnusualItemError
from millrace.checkpoint.seal import Seal
from millrace.records.checkpoint import Problem

Given = TypeVar("Given")
Made = TypeVar("Made")
CRC_CHUNK = 1 << 20
"""Read and summed at a time: small enough to be still in the cache when it is summed."""
CRC_GAP = 64 << 10
"""Neighbours in a file that are further apart are not read together."""


@dataclass(frozen=True)
class CheckedItem:
    """A saved item whose head is known."""

    file: int
    offset: int
    length: int
    head: Head
    tensor: str


Summed = tuple[CheckedItem, int | None, str]
"""An item with its own head, the CRC-32 of its storage (None: it was not summed), and what is wrong with it (empty: nothing)."""


Read = Callable[[int, int], bytes]
"""Up to so many bytes from an offset of a file on. Raises OSError."""


def item_crc(item: CheckedItem, opened: OpenFiles, read: Read) -> Summed:
    """Sum an item's storage as it is on the disk and compare with what was stored with it.

    A safetensors item has no stored CRC; only its bytes are summed. A head that was predicted and is another one is read: of
    two items of equal length and shape one may have strides, or an offset into a larger storage.
    """
    head = item.head
    if head.raw and read(head.data_offset, item.offset) != head.raw:
        try:
            own = opened.heads.parse(read(min(HEAD_BYTES, item.length), item.offset), item.length)
        except UnusualItemError:  # one that torch reads
            return item, None, archive_problem(read(item.length, item.offset))
        if (own.sizes, own.dtype) != (head.sizes, head.dtype):
            return item, None, "its head is not that of its shape and dtype: are files mixed up?"
        head, item = own, replace(item, head=own)
    crc, position, left = 0, item.offset + head.data_offset, head.storage_nbytes
    while left:
        data = read(min(left, CRC_CHUNK), position)
        if not data:
            return item, crc, f"the file ends at byte {position}"
        crc = crc32(data, crc)
        position += len(data)
        left -= len(data)
    if not head.descriptor_nbytes:
        return item, crc, ""
    try:
        stored = check_descriptor(read(head.descriptor_nbytes, position), head)
    except UnusualItemError as error:
        return item, crc, str(error)
    if stored == crc:
        return item, crc, ""
    if stored == 0:
        return item, crc, "it was saved without a CRC (torch.serialization.set_crc32_options), or the CRC is damaged"
    return item, crc, f"CRC mismatch: its bytes sum to {crc:08x}, {stored:08x} was stored"


def crc_results(items: Iterable[CheckedItem], opened: OpenFiles, threads: int) -> Iterator[Summed]:
    """`item_crc` of all items, in order, by several threads: both reading and summing release the interpreter lock."""
    stop = threading.Event()

    def together(items: Sequence[CheckedItem]) -> list[Summed]:
        return [(item, None, "not looked at") for item in items] if stop.is_set() else _sums(items, opened)

    try:
        for sums in in_order(together, list(neighbours(items)), threads):
            yield from sums
    finally:
        stop.set()


def neighbours(items: Iterable[CheckedItem]) -> Iterator[list[CheckedItem]]:
    """Items that follow each other in a file, so many as are read in one call: a call to an object store takes milliseconds."""
    run: list[CheckedItem] = []
    for item in items:
        end = run[-1].offset + run[-1].length if run else 0
        if run and not (
            item.file == run[0].file
            and 0 <= item.offset - end <= CRC_GAP
            and item.offset + item.length - run[0].offset <= CRC_CHUNK
        ):
            yield run
            run = []
        run.append(item)
    if run:
        yield run


def _sums(items: Sequence[CheckedItem], opened: OpenFiles) -> list[Summed]:
    file, start = items[0].file, items[0].offset
    nbytes = items[-1].offset + items[-1].length - start
    read: Read = partial(opened.read_at, file)
    if nbytes <= CRC_CHUNK:
        try:
            whole = opened.read_at(file, nbytes, start)
        except OSError as error:
            return [(item, None, _unreadable(error)) for item in items]
        read = lambda count, offset: whole[offset - start : offset - start + count]  # noqa: E731
    found: list[Summed] = []
    for item in items:
        try:
            found.append(item_crc(item, opened, read))
        except OSError as error:
            found.append((item, None, _unreadable(error)))
    return found


def _unreadable(error: OSError) -> str:
    return f"cannot be read: {error.strerror or error}"


def in_order(work: Callable[[Given], Made], items: Sequence[Given], threads: int) -> Iterator[Made]:
    """`work` of all items, in order, by several daemon threads: a read that never returns does not keep the program alive."""
    todo: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    done: dict[int, Made | BaseException] = {}
    arrived = threading.Condition()

    def serve() -> None:
        while (number := todo.get()) is not None:
            result: Made | BaseException
            try:
                result = work(items[number])
            except BaseException as error:  # noqa: BLE001 - raised again where the result is taken
                result = error
            with arrived:
                done[number] = result
                arrived.notify()

    for number in range(len(items)):
        todo.put(number)
    count = max(1, min(threads, len(items)))
    for number in range(count):
        todo.put(None)
        threading.Thread(target=serve, name=f"checkpoint-crc-{number}", daemon=True).start()
    for number in range(len(items)):
        with arrived:
            while number not in done:
                arrived.wait()
            result = done.pop(number)
        if isinstance(result, BaseException):
            raise result
        yield result


def crc_problems(items: Iterable[CheckedItem], opened: OpenFiles, threads: int, seal: Seal | None) -> list[Problem]:
    """What is wrong with the items' bytes, one problem per damaged item."""
    found = []
    for item, crc, what in crc_results(items, opened, threads):
        file = opened.names[item.file]
        wrong = what or against_seal(item, file, crc, seal)
        if wrong:
            found.append(Problem(wrong, file, item.tensor, item.offset))
    return found


def against_seal(item: CheckedItem, file: str, crc: int | None, seal: Seal | None) -> str:
    """What the seal has against an item that is whole in itself; empty: nothing."""
    if not item.head.storage_nbytes or crc is None:
        return ""
    if seal is not None:
        return seal.difference(file, item.offset + item.head.data_offset, crc)
    if not item.head.descriptor_nbytes:
        return "no CRC is stored with it: seal the checkpoint (flows.checkpoint verify --set seal=true) or verify by size"
    return ""


def archive_problem(data: bytes) -> str:
    """What is wrong with an item that is a zip of any kind, read whole; empty: all its entries have the CRC they should."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                if archive.open(entry).read() is None:
                    return f"'{entry.filename}' cannot be read"
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, zlib.error) as error:
        return f"CRC check failed: {error}"
    return ""
