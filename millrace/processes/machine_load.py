"""What this machine has free for worker processes: measured, by Linux' pressure where it is kept, else by the load average."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MEMORY_PER_WORKER = 2**30
"""What a worker and its tools' process take, with room: measured 0.4 to 0.6 GB each with synthesis' shipped configs."""

PRESSURE = Path("/proc/pressure/cpu")
"""Linux' count of the time that runnable tasks waited for a core (PSI), in microseconds since the machine started."""


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def most_workers() -> int:
    """Worker processes that this machine can hold: one per core, as far as there is memory; at least 1.

    More workers than cores only take turns: 16 on two cores took 141 s where 4 took 59 s.
    """
    return max(1, min(usable_cores(), int(psutil.virtual_memory().available // MEMORY_PER_WORKER)))


def idle_cores() -> int:
    """Cores that nothing else wanted during the last minute; at least 1."""
    return max(1, usable_cores() - round(os.getloadavg()[0]))


def memory_is_short() -> bool:
    """Whether less memory is left than half of what a worker takes."""
    return bool(psutil.virtual_memory().available < MEMORY_PER_WORKER // 2)


@dataclass(slots=True)
class CpuPressure:
    """How hard it is to get a core, from 0 (each runnable task has one) to 1 (some task always waits).

    Covers: everything that runs on the machine, this run included. Does not cover: a container's own limit on CPU time.
    """

    source: Path = PRESSURE
    _at: float = field(default_factory=time.monotonic)
    _waited_us: int | None = None

    def since_last(self) -> float:
        """The pressure since the last call; at the first one that of the last ten seconds."""
        try:
            fields = dict(part.split("=") for part in self.source.read_text().split("\n")[0].split()[1:])
            waited, recent = int(fields["total"]), float(fields["avg10"]) / 100
        except (OSError, ValueError, KeyError, IndexError):  # a system without it
            return min(1.0, max(0.0, os.getloadavg()[0] / usable_cores() - 1.0))
        now = time.monotonic()
        before, self._waited_us = self._waited_us, waited
        began, self._at = self._at, now
        return recent if before is None else min(1.0, (waited - before) / 1e6 / max(now - began, 1e-3))
