"""Reads saved items whole, as torch does: byte items, and tensors that only torch's own code understands."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

import torch
from torch.distributed._shard._utils import narrow_tensor_by_index
from torch.distributed.checkpoint.planner import ReadItem
from typing_extensions import Buffer

from millrace.checkpoint.checksums import archive_problem
from millrace.checkpoint.engine.open_files import OpenFiles
from millrace.checkpoint.engine.place import WatchedFiles
from millrace.checkpoint.engine.stalls import Watch
from millrace.checkpoint.engine.vector_io import Files, PosixFiles
from millrace.records.checkpoint import Problem

Result = TypeVar("Result")

BUFFER_BYTES = 1 << 20
"""Read at a time: unpicklers ask for a few bytes each."""


class ItemStream(io.RawIOBase):
    """A saved item as a file of its own.

    Args:
        read: up to so many bytes from a place of the file on.
        offset: where the item begins, and `length` how long it is.
    """

    def __init__(self, read: Callable[[int, int], bytes], offset: int, length: int) -> None:
        self._read, self._offset, self._length = read, offset, length
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        if start + offset < 0:
            raise OSError("a place before the item")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._length - self._at))
        data = self._read(wanted, self._offset + self._at) if wanted else b""
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


class OneFile:
    """A file that is no checkpoint's folder: read by calls that a watch ends.

    Args:
        path: where it is.
        stall_s: how long one read may have no answer.
        files: how bytes are read; None: as local files are.
    """

    def __init__(self, path: Path, stall_s: float | None, files: Files | None = None) -> None:
        self._path, self._watch = path, Watch(stall_s)
        self._files = WatchedFiles(files or PosixFiles(), self._watch)

    def read_with(self, work: Callable[[IO[bytes]], Result]) -> Result:
        """What `work` makes of the file as a stream. Raises StalledRead, OSError, and what `work` raises."""

        def run() -> Result:
            handle = self._files.open(self._path)
            try:
                read = partial(self._files.read_at, handle)
                return work(io.BufferedReader(ItemStream(read, 0, self._files.size(handle)), BUFFER_BYTES))
            finally:
                self._files.close(handle)

        return self._watch.wait_for(run)

    def read_at(self, nbytes: int, offset: int) -> bytes:
        """Up to `nbytes` bytes from `offset` on. Raises StalledRead, OSError."""

        def run() -> bytes:
            handle = self._files.open(self._path)
            try:
                return self._files.read_at(handle, nbytes, offset)
            finally:
                self._files.close(handle)

        return self._watch.wait_for(run)


class WholeItems:
    """The items of one load.

    Args:
        opened: the checkpoint's files.
        places: where each is stored.
        transforms: torch's extensions, which undo compression and the like.
        check_sums: look at the sums of what is a zip.
    """

    def __init__(self, opened: OpenFiles, places: Mapping[Any, Any], transforms: Any, *, check_sums: bool) -> None:
        self._opened, self._places, self._transforms, self._check_sums = opened, places, transforms, check_sums

    def _stream(self, item: ReadItem) -> IO[bytes]:
        info = self._places[item.storage_index]
        problems: list[Problem] = []
        file = self._opened.index(info.relative_path, problems)
        if file is None:
            raise OSError(problems[0].what if problems else "its file cannot be opened")
        raw = io.BufferedReader(ItemStream(partial(self._opened.read_at, file), info.offset, info.length), BUFFER_BYTES)
        stream: IO[bytes] = self._transforms.transform_load_stream(item, info.transform_descriptors or (), raw)
        return stream

    def data(self, item: ReadItem) -> tuple[bytes, Problem | None]:
        """An item's bytes, transforms undone, and what is wrong with it."""
        info, wrong, data = self._places[item.storage_index], "", b""
        try:
            data = bytes(self._stream(item).read(-1))
            wrong = archive_problem(data) if self._check_sums else ""
        except Exception as error:  # noqa: BLE001 - a transform may raise anything
            wrong = f"cannot be read: {type(error).__name__}: {error}"
        return data, Problem(wrong, info.relative_path, item.storage_index.fqn, info.offset) if wrong else None

    def tensor(self, item: ReadItem) -> torch.Tensor:
        """The part of a saved tensor that is asked for, by torch's own unpickler for weights. Raises anything."""
        stream = self._stream(item)
        seekable = stream if stream.seekable() else io.BytesIO(stream.read(-1))
        whole = torch.load(seekable, map_location="cpu", weights_only=True)
        part: torch.Tensor = narrow_tensor_by_index(whole, item.storage_offsets, item.lengths)
        return part
