"""Append-only files with a checksum per line: what the journal of replies and the ledger are made of.

Every writer has a segment of its own, so nothing is locked and nothing is ever rewritten. All lines that come up in one turn of
the event loop are handed to the kernel in one write before their effect is visible; the disk is asked to keep them once a
second.

    crc32 (8 hex digits) TAB payload LF

Covers: SIGKILL at any moment (what was written stays, a torn last line is skipped on reading), damaged lines (skipped, counted).
Does not cover: power loss: up to a second of lines may be gone, and their calls are then paid again.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from millrace.errors import RunFailed

SYNC_S = 1.0


class SegmentWriter:
    """Appends lines to one new file in `folder`, made at the first line."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self.path = folder / f"{prefix}-{os.getpid()}-{os.urandom(4).hex()}.log"
        self.written_bytes = 0
        """Where the next line will start, lines not yet written included."""
        self._handle: int | None = None
        self._lines: list[bytes] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._sync: asyncio.TimerHandle | None = None
        self._broken: RunFailed | None = None

    def append(self, payload: bytes) -> tuple[int, asyncio.Future[None]]:
        """Add a line; returns where it starts and what to await before using what it says.

        The future raises:
            RunFailed: the disk is full or gone.
        """
        line = line_of(payload)
        offset = self.written_bytes
        self.written_bytes += len(line)
        self._lines.append(line)
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._write)
        # one for each line: a caller that stops waiting must not stop the others
        written: asyncio.Future[None] = loop.create_future()
        self._waiting.append(written)
        return offset, written

    def close(self) -> None:
        """Write what is left and let the disk keep it."""
        if self._waiting:
            self._write()
            if self._broken is not None:
                raise self._broken
        if self._sync is not None:
            self._sync.cancel()
        if self._handle is not None:
            os.fdatasync(self._handle)
            os.close(self._handle)
            self._handle = None

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        data = b"".join(self._lines)
        self._lines.clear()
        try:
            if self._broken is not None:  # half a line may stand at the end: nothing may follow it
                raise self._broken
            if self._handle is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            view = memoryview(data)
            while view:
                view = view[os.write(self._handle, view) :]
        except (OSError, RunFailed) as error:
            why = f"{self.path} cannot be written ({error}); paid answers would be lost, so the run ends here"
            self._broken = self._broken or RunFailed(why)
            for written in waiting:
                if not written.done():
                    written.set_exception(self._broken)
                    written.exception()  # the waiting caller raises it; without one it is no second error
            return
        for written in waiting:
            if not written.done():
                written.set_result(None)
        if self._sync is None:
            self._sync = asyncio.get_running_loop().call_later(SYNC_S, self._sync_soon)

    def _sync_soon(self) -> None:
        self._sync = None
        if self._handle is not None:
            asyncio.get_running_loop().run_in_executor(None, _synced, os.dup(self._handle))


def _synced(handle: int) -> None:
    try:
        os.fdatasync(handle)
    except OSError:
        pass  # the next write meets the same disk and raises
    finally:
        os.close(handle)


def line_of(payload: bytes) -> bytes:
    """A payload (without line feeds) with its checksum, as a line."""
    return b"%08x\t%b\n" % (zlib.crc32(payload), payload)


def read_segment(path: Path, start: int = 0) -> Iterator[tuple[int, int, bytes | None]]:
    """The whole lines of a segment from byte `start` on: where each starts and ends, and its payload, None for a damaged one.

    A last line without its end is left out: it is torn, or its writer is at it right now.
    """
    offset = start
    with path.open("rb", buffering=1 << 20) as file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield offset, offset + len(line), checked(line)
            offset += len(line)


def checked(line: bytes) -> bytes | None:
    """The payload of a line whose checksum is right; None otherwise."""
    payload = line[9:-1]
    try:
        return payload if line[8:9] == b"\t" and int(line[:8], 16) == zlib.crc32(payload) else None
    except ValueError:
        return None
