"""Files of an object store or another server, by what fsspec knows of it: ranges side by side, one open for each file."""

from __future__ import annotations

import ctypes
import errno
import itertools
import threading
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")
REMOTE_THREADS = 8
"""Requests under way by default: an answer takes tens of milliseconds, whatever the number of cores."""


class RemoteFiles:
    """Bytes by an fsspec file system.

    Covers: stores that serve ranges (S3, GCS, HTTP …), asked for by many threads at once; others through one open file each, read
    by one thread at a time. Does not cover: a store that changes a file while it is read.

    Args:
        system: the fsspec file system.
    """

    def __init__(self, system: Any) -> None:
        self._system = system
        self._ranges = bool(getattr(system, "async_impl", False))
        self._numbers = itertools.count()
        self._paths: dict[int, tuple[str, int]] = {}
        self._streams: dict[int, tuple[Any, threading.Lock]] = {}

    def open(self, path: Path | str) -> int:
        number = next(self._numbers)
        place = self._system._strip_protocol(str(path))
        if self._ranges:
            size = _asked(lambda: self._system.info(place)["size"], place)
        else:
            stream = _asked(lambda: self._system.open(place, "rb"), place)
            self._streams[number] = (stream, threading.Lock())
            size = _asked(lambda: stream.seek(0, 2), place)
        if size is None:
            raise OSError(errno.EINVAL, "the server does not say how long it is", place)
        self._paths[number] = (place, int(size))
        return number

    def size(self, handle: int) -> int:
        return self._paths[handle][1]

    def read_at(self, handle: int, nbytes: int, offset: int) -> bytes:
        place, size = self._paths[handle]
        end = min(offset + nbytes, size)
        if end <= offset:
            return b""
        if not self._ranges:
            stream, lock = self._streams[handle]
            with lock:
                stream.seek(offset)
                return bytes(_asked(lambda: stream.read(end - offset), place))
        data = bytes(_asked(lambda: self._system.cat_file(place, start=offset, end=end), place))
        return data if len(data) <= end - offset else data[offset:end]  # a server that knows no ranges sends all of it

    def read_vector(self, handle: int, ranges: array[int], start: int, count: int, offset: int) -> int:
        places = [(ranges[2 * index], ranges[2 * index + 1]) for index in range(start, start + count)]
        data = self.read_at(handle, sum(nbytes for _, nbytes in places), offset)
        done = 0
        for address, nbytes in places:
            part = data[done : done + nbytes]
            ctypes.memmove(address, part, len(part))
            done += len(part)
        return done

    def close(self, handle: int) -> None:
        self._paths.pop(handle, None)
        stream = self._streams.pop(handle, None)
        if stream is not None:
            stream[0].close()


def _asked(question: Callable[[], Result], place: str) -> Result:
    """The store's answer. Raises OSError, whatever the store's library raises."""
    try:
        return question()
    except OSError:
        raise
    except Exception as error:
        raise OSError(errno.EIO, f"{type(error).__name__}: {error}", place) from error
