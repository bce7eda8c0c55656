"""Reads byte ranges of files straight into memory, without the interpreter lock.

`preadv` takes one list of (address, length) pairs per call: heads and tails go to scratch memory, payloads to where they belong,
500 tensors in one system call. It is called through ctypes because `os.preadv` wants one Python object per range, which costs
more than the copy of a small tensor.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from array import array
from pathlib import Path
from typing import Protocol

MAX_VECTORS = 1024
"""IOV_MAX on Linux and macOS: more ranges in one call are refused."""

_libc = ctypes.CDLL(None, use_errno=True)
_preadv = getattr(_libc, "preadv64", None) or getattr(_libc, "preadv", None)
if _preadv is not None:
    _preadv.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64)
    _preadv.restype = ctypes.c_ssize_t


class Files(Protocol):
    """How bytes get from files into memory: the seam where tests put failing disks."""

    def open(self, path: Path | str) -> int:
        """A handle for reading `path`. Raises OSError."""

    def size(self, handle: int) -> int:
        """The file's length in bytes."""

    def read_at(self, handle: int, nbytes: int, offset: int) -> bytes:
        """Up to `nbytes` bytes from `offset` on."""

    def read_vector(self, handle: int, ranges: array[int], start: int, count: int, offset: int) -> int:
        """Fill the (address, length) pairs `start` to `start + count` of `ranges`; returns how many bytes were read."""

    def close(self, handle: int) -> None:
        """Give the handle back."""


_KINDS = {stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device", stat.S_IFDIR: "folder"}


def open_regular(path: Path) -> int:
    """A handle for reading a file. Opening a FIFO would wait for a writer, and reading a device may never end.

    Raises:
        OSError: it can't be opened, or is no regular file.
    """
    _refuse_strange(path.stat().st_mode, path)
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _refuse_strange(os.fstat(handle).st_mode, path)  # it may have been exchanged since
    except OSError:
        os.close(handle)
        raise
    return handle


def _refuse_strange(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"a {_KINDS.get(stat.S_IFMT(mode), 'special file')} and no regular file", str(path))


class PosixFiles:
    """The local file system."""

    def open(self, path: Path | str) -> int:
        return open_regular(Path(path))

    def size(self, handle: int) -> int:
        return os.fstat(handle).st_size

    def read_at(self, handle: int, nbytes: int, offset: int) -> bytes:
        return os.pread(handle, nbytes, offset)

    def read_vector(self, handle: int, ranges: array[int], start: int, count: int, offset: int) -> int:
        if _preadv is None:
            return _read_by_objects(handle, ranges, start, count, offset)
        address = ranges.buffer_info()[0] + 16 * start
        while True:
            got = int(_preadv(handle, address, count, offset))
            if got >= 0:
                return got
            code = ctypes.get_errno()
            if code != errno.EINTR:
                raise OSError(code, os.strerror(code))

    def close(self, handle: int) -> None:
        os.close(handle)


def read_fully(files: Files, handle: int, ranges: array[int], offset: int) -> None:
    """Fill all of `ranges`, address and length in turn, from consecutive bytes of the file.

    `ranges` is used up: after a short read its first open entry is moved on.

    Raises:
        OSError: the disk failed.
        EOFError: the file ends before the last range is full; the argument is the offset where it ends.
    """
    position, total = 0, len(ranges) // 2
    while position < total:
        count = min(MAX_VECTORS, total - position)
        got = files.read_vector(handle, ranges, position, count, offset)
        if got == 0 and any(ranges[2 * index + 1] for index in range(position, position + count)):
            raise EOFError(offset)
        offset += got
        while position < total and got >= ranges[2 * position + 1]:
            got -= ranges[2 * position + 1]
            position += 1
        if got:
            ranges[2 * position] += got
            ranges[2 * position + 1] -= got


def _read_by_objects(handle: int, ranges: array[int], start: int, count: int, offset: int) -> int:
    """`read_vector` for a C library without `preadv`."""
    buffers = [(ctypes.c_char * ranges[2 * index + 1]).from_address(ranges[2 * index]) for index in range(start, start + count)]
    return os.preadv(handle, buffers, offset)


def cache_state(handle: int, size: int, samples: int = 3) -> bool | None:
    """Whether a file is probably in memory already, from a few pages of it; None where its file system can't say.

    File systems of block devices and of memory answer without waiting; network file systems don't know the question.
    """
    nowait = getattr(os, "RWF_NOWAIT", None)
    if nowait is None or size == 0:
        return None
    page = bytearray(1)
    for index in range(samples):
        try:
            os.preadv(handle, [page], (size - 1) * index // max(samples - 1, 1), nowait)
        except BlockingIOError:
            return False
        except OSError:
            return None
    return True


def handle_limit() -> int:
    """How many files this process may have open."""
    try:
        import resource
    except ImportError:  # not a POSIX system
        return 512
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 20 if limit == resource.RLIM_INFINITY else limit


def free_handles() -> int:
    """How many more files this process may open now."""
    limit = handle_limit()
    try:
        return limit - len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough
    except OSError:  # not Linux: nothing is known of what is open
        return limit


def will_need(handle: int, offset: int, nbytes: int) -> None:
    """Ask the kernel to start reading a range from the disk now. Worth it only when it isn't in memory."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(handle, offset, nbytes, os.POSIX_FADV_WILLNEED)
