"""Lets as many of a run's worker processes work at once as the machine has room for, and changes that while they work.

Each process holds a place, a locked file in a folder that they share; those whose place lies beyond the width wait between two
pieces of work. The holder of the first place measures the machine and writes the width, and never waits, so that work always
goes on. A process that dies leaves its place free, and the next one moves up.

Covers: other programs that begin or end in the middle of a run; memory that runs short; workers killed at any moment; workers on
several machines, each machine for itself. Does not cover: a piece of work that is under way, which is not interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from millrace.processes.machine_load import CpuPressure, idle_cores, memory_is_short, usable_cores

CROWDED, FREE = 0.5, 0.2
"""CPU pressure above which one process less works, and below which one more does."""

EVERY_S = 2.0
"""Seconds between two measurements: long enough for a change to show, short against a run."""

WAIT_S = 0.25
"""Seconds between two looks of a process that waits."""


class Turns:
    """One process' place among those that share `folder`.

    Args:
        folder: where the places are; made where it is missing.
        pressure: how hard it is to get a core (see `CpuPressure.since_last`).
        most: the most that work at once.
        first: how many work at once until the first measurement.
    """

    def __init__(
        self,
        folder: Path,
        pressure: Callable[[], float] | None = None,
        *,
        most: int | None = None,
        first: int | None = None,
        memory_short: Callable[[], bool] = memory_is_short,
        every_s: float = EVERY_S,
    ) -> None:
        self.folder = folder / socket.gethostname()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._pressure = pressure or CpuPressure().since_last
        self._memory_short = memory_short
        self._most = most or usable_cores()
        self._first = first or idle_cores()
        self._every_s = every_s
        self._measured = time.monotonic() - every_s
        self._place, self._file = self._take(None)

    @property
    def place(self) -> int:
        """From 0; moves towards 0 as others leave."""
        return self._place

    def width(self) -> int:
        """How many may work at once; measured anew by the first place's holder."""
        try:
            width = int((self.folder / "width").read_text())
        except (OSError, ValueError):
            width = min(self._first, self._most)
        if self._place == 0 and time.monotonic() - self._measured >= self._every_s:
            self._measured = time.monotonic()
            width = self._wider_or_narrower(width)
            part = self.folder / f"width.{os.getpid()}"
            part.write_text(str(width))
            part.replace(self.folder / "width")
        return width

    async def wait(self) -> None:
        """Return when it is this process' turn to begin a piece of work."""
        self._move_up()
        while self._place >= self.width():
            await asyncio.sleep(WAIT_S)
            self._move_up()

    def close(self) -> None:
        """Leave the place. Harmless when called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _wider_or_narrower(self, width: int) -> int:
        pressure = self._pressure()
        if pressure > CROWDED or self._memory_short():
            return max(1, width - 1)
        return min(self._most, width + 1) if pressure < FREE else width

    def _move_up(self) -> None:
        if self._place and (better := self._take(self._place)) != (self._place, self._file):
            os.close(self._file)
            self._place, self._file = better

    def _take(self, below: int | None) -> tuple[int, int]:
        """(place, locked file) of the first free place; with `below`, the place that is held where no better one is free."""
        place = 0
        while below is None or place < below:
            file = os.open(self.folder / f"place-{place}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return place, file
            os.close(file)
            place += 1
        return self._place, self._file
