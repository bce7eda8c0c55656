"""Where the guard puts a command's output: into a log of bounded size, and on to a listener if there is one.

Standard library only and quick to import: the guard loads this file.
"""

from __future__ import annotations

import os
import time

CHUNK_BYTES = 1 << 16
MAX_PENDING_BYTES = 1 << 20
"""Output waiting for a slow listener before the command has to wait for it too."""


PAUSE_S = 0.05
"""After a small piece of output the next one may wait this long: a program that prints line by line would otherwise wake us up
for each line, and the guard's CPU share is part of what is measured beside it."""

SMALL_BYTES = 1 << 14
"""A quarter of what the pipe holds: with more waiting there is no pause, so that the command never has to wait for it."""


class LogPump:
    """Moves bytes from the command's pipe to `log` (rotated into `log.1` so that both stay below `max_bytes`) and to `forward`.

    Covers: a full disk (bytes are counted as lost, the command goes on), output that is not text, a listener that went away.
    Does not cover: a listener that is slow for long; the command then waits for it.
    """

    def __init__(self, source: int, log: str | None, max_bytes: int, forward: int | None, pause_s: float = PAUSE_S) -> None:
        self.source, self.forward, self.pause_s = source, forward, pause_s
        self.path, self.half = log, max(max_bytes // 2, 1)
        self.file: int | None = None
        self.size = self.total = self.lost = 0
        self.pending = bytearray()
        self.open = True
        self.resume_at = 0.0
        os.set_blocking(source, False)
        if forward is not None:
            os.set_blocking(forward, False)
        if log is not None:
            self._open(log)
            # A restarted command goes on in the same log.
            if self.file is not None:
                self.size = os.fstat(self.file).st_size

    def wants_input(self) -> bool:
        """Whether to wait for more output of the command; `resume_at` says until when not."""
        return self.open and len(self.pending) < MAX_PENDING_BYTES and time.monotonic() >= self.resume_at

    def read(self) -> bool:
        """Move what is there now; False when there is nothing now or nothing will come any more."""
        try:
            data = os.read(self.source, CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self.open = False
            return False
        self.total += len(data)
        self.resume_at = time.monotonic() + self.pause_s if len(data) < SMALL_BYTES else 0.0
        self._write(data)
        if self.forward is not None:
            self.pending += data
            self.flush()
        return True

    def flush(self) -> None:
        """Hand the listener as much as it takes without waiting."""
        while self.pending and self.forward is not None:
            try:
                del self.pending[: os.write(self.forward, self.pending[:CHUNK_BYTES])]
            except BlockingIOError:
                return
            except OSError:
                self.forward = None
                self.pending.clear()

    def _write(self, data: bytes) -> None:
        if self.path is None:
            return
        if self.size + len(data) > self.half and self.size:
            self._rotate()
        try:
            if self.file is None:
                self._open(self.path)
            view = memoryview(data)[-self.half :]
            self.lost += len(data) - len(view)
            while view and self.file is not None:
                written = os.write(self.file, view)
                self.size += written
                view = view[written:]
            self.lost += len(view)
        except OSError:
            self.lost += len(data)

    def _rotate(self) -> None:
        assert self.path is not None
        try:
            os.replace(self.path, self.path + ".1")  # noqa: PTH105 (pathlib costs start-up time here)
            if self.file is not None:
                os.close(self.file)
            self.file = None
            self._open(self.path)
            self.size = 0
        except OSError:
            self.file = None

    def _open(self, path: str) -> None:
        try:
            self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError:
            self.file = None
