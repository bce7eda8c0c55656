"""Staging memory for what can't be read in place: another dtype, another device, tiny strided runs."""

from __future__ import annotations

import threading
from array import array
from typing import Any

import torch

from millrace.checkpoint.engine.geometry import Box, copy_by_pieces, pieces
from millrace.checkpoint.engine.open_files import OpenFiles
from millrace.checkpoint.engine.read_plan import Read
from millrace.checkpoint.engine.vector_io import read_fully

MOST_STAGING_BYTES = 48 << 20
"""All threads together. With scratch memory it stays under the 64 MiB that a load may cost on top of the state dict."""

BUFFERS_PER_TRANSFER = 16
"""Buffers that a thread fills and sends to an accelerator before it waits for the last; till then copies overlap with reads."""
MOST_SHARES = 1024
"""Of one tensor, about: each is an entry in a list."""


def staging_bytes(wanted: int | None, threads: int) -> int:
    """Staging memory per thread: `wanted` or, by default, a tenth of what is available but at most 48 MiB, shared out."""
    if wanted is None:
        import psutil

        wanted = min(MOST_STAGING_BYTES, psutil.virtual_memory().available // 10)
    return max(64 << 10, min(8 << 20, wanted // threads // 2))


class Staging:
    """One buffer pair per thread; on an accelerator they are pinned and the second is filled while the first is copied.

    Covers: destinations on the CPU and on CUDA devices. Does not cover: other accelerators get plain, blocking copies.
    """

    def __init__(self, opened: OpenFiles, nbytes: int) -> None:
        self.opened = opened
        self.nbytes = nbytes
        self._mine = threading.local()

    def shares(self, read: Read, target: torch.Tensor) -> list[tuple[Box, torch.Tensor]]:
        """What `read` asks for and its destination, cut alike into parts that threads can load side by side."""
        buffers = 1 if target.is_cpu else BUFFERS_PER_TRANSFER
        share = max(buffers * self.nbytes, read.nbytes // MOST_SHARES)
        return list(pieces(read.box, target, max(1, share // read.head.dtype.itemsize)))

    def load(self, read: Read, box: Box, target: torch.Tensor) -> None:
        """Fill `target` with the part `box` of the tensor that `read` asks for. Raises OSError, EOFError."""
        buffers = self._buffers(target.device)
        dtype = read.head.dtype
        base = read.offset + read.head.data_offset

        def fetch(start: int, count: int) -> torch.Tensor:
            nbytes = count * dtype.itemsize
            buffer = buffers.next(nbytes)
            ranges = array("Q", (buffer.data_ptr(), nbytes))
            with self.opened.use(read.file) as handle:
                read_fully(self.opened.files, handle, ranges, base + start * dtype.itemsize)
            return buffer[:nbytes].view(dtype)

        with buffers:
            copy_by_pieces(box, target, dtype, self.nbytes, fetch, asynchronous=target.is_cuda)

    def _buffers(self, device: torch.device) -> _Buffers:
        kept: dict[torch.device, _Buffers] = self._mine.__dict__.setdefault("kept", {})
        if device not in kept:
            kept[device] = _CudaBuffers(self.nbytes, device) if device.type == "cuda" else _Buffers(self.nbytes)
        return kept[device]


class _Buffers:
    """One buffer; a copy out of it has ended when the next read begins."""

    def __init__(self, nbytes: int) -> None:
        self._buffer = torch.empty(nbytes, dtype=torch.uint8, device="cpu")

    def next(self, nbytes: int) -> torch.Tensor:
        if nbytes > self._buffer.numel():  # a single element wider than the limit
            self._buffer = torch.empty(nbytes, dtype=torch.uint8, device="cpu")
        return self._buffer

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


class _CudaBuffers(_Buffers):
    """Two pinned buffers on a stream of their own: the disk fills one while the other goes to the device."""

    def __init__(self, nbytes: int, device: torch.device) -> None:
        self._pair = [torch.empty(nbytes, dtype=torch.uint8, device="cpu", pin_memory=True) for _ in range(2)]
        self._events = [torch.cuda.Event() for _ in range(2)]  # type: ignore[no-untyped-call]
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._turn = 0
        self._context: Any = None

    def next(self, nbytes: int) -> torch.Tensor:
        self._events[self._turn].record(self._stream)  # after the copy out of the buffer used last
        self._turn = 1 - self._turn
        self._events[self._turn].synchronize()
        return self._pair[self._turn]

    def __enter__(self) -> None:
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        self._context = torch.cuda.stream(self._stream)
        self._context.__enter__()

    def __exit__(self, *error: object) -> None:
        self._context.__exit__(*error)
        self._stream.synchronize()
