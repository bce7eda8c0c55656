"""Turns at a host that asks for time between requests (`Crawl-delay`): one row for all threads and processes that share a folder.

The time of the next turn is 8 bytes in a file under `flock`, named by the host's hash: nothing has to run for it, and a killed
process leaves the row as it is. A caller that cannot wait long enough takes no turn, so a refused one delays no other.

Covers: all workers of one machine, and of several machines with one cache folder and working locks on it. Where the folder cannot
be written, the row is that of this process. Does not cover: the first request for robots.txt, before the delay is known.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

LONGEST_ROW_S = 3_600.0
"""A next turn that is further off than this and the delay comes from a clock that was wrong."""

_TIME = struct.Struct("<d")


class Turns:
    """Gives out turns."""

    def __init__(self, folder: Path | None, clock: Callable[[], float] = time.time) -> None:
        """
        Args:
            folder: where processes share their rows; None: this process alone.
            clock: seconds since the epoch.
        """
        self._folder, self._clock = folder, clock
        self._own: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, host: str, delay_s: float, patience_s: float) -> float:
        """Seconds until the turn, which is taken when they are at most `patience_s`, and not otherwise."""
        if delay_s <= 0:
            return 0.0
        with self._lock:
            handle = self._opened(host)
            if handle is None:
                wait, following = self._turn(self._own.get(host, 0.0), delay_s)
                if wait <= patience_s:
                    self._own[host] = following
                return wait
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                raw = os.pread(handle, _TIME.size, 0)
                wait, following = self._turn(_TIME.unpack(raw)[0] if len(raw) == _TIME.size else 0.0, delay_s)
                if wait <= patience_s:
                    os.pwrite(handle, _TIME.pack(following), 0)
                return wait
            finally:
                os.close(handle)  # and with it the lock

    def _turn(self, following: float, delay_s: float) -> tuple[float, float]:
        """(seconds until the turn, when the one after it begins)."""
        now = self._clock()
        if not math.isfinite(following) or following - now > LONGEST_ROW_S + delay_s:
            following = now
        mine = max(following, now)
        return mine - now, mine + delay_s

    def _opened(self, host: str) -> int | None:
        if self._folder is None:
            return None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            name = hashlib.sha256(host.lower().encode()).hexdigest()[:32]
            return os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            self._folder = None
            return None
