"""Times that can be subtracted: seconds since the epoch, read once from the wall clock and carried on by the monotonic one.

The wall clock can be set while a run goes on (by hand, by NTP, after a sleep): a duration of -3,580 s was seen. What this module
calls `now` never jumps; `stepped_s` says how far the wall clock has gone away from it meanwhile, so that a step can be noted.
Standard library only and quick to import: training programs load it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

STEP_S = 0.5
"""Less than this is no step: the two clocks are not read at the same moment, and NTP's slewing moves both alike."""


@dataclass(frozen=True)
class Anchor:
    """Where a process's times begin. Two processes of one boot share the monotonic clock, whatever their wall clocks showed."""

    boot: str
    offset: float
    """Seconds since the epoch when the monotonic clock was at 0, as this process believes."""

    @classmethod
    def drop(cls) -> Anchor:
        """One for this process, by its wall clock now."""
        return cls(_boot_id(), time.time() - time.monotonic())


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


ANCHOR = Anchor.drop()
"""This process's."""


def now() -> float:
    """Seconds since the epoch, on a clock that cannot be set back."""
    return at(time.monotonic())


def at(monotonic_s: float) -> float:
    """The same for a moment of the monotonic clock, of this process or another one on this machine."""
    return ANCHOR.offset + monotonic_s


def translated(moment: float, anchor: Anchor) -> float:
    """A `now` of another process as this one would have given it. From another machine it is taken as it is."""
    same = anchor.boot and anchor.boot == ANCHOR.boot
    return moment - anchor.offset + ANCHOR.offset if same else moment


def stepped_s(since: float = 0.0) -> float:
    """How far the wall clock was set forward (or back, below 0) since `since` was its `stepped_s`; 0: it was not."""
    step = time.time() - now() - since
    return round(step, 3) if abs(step) > STEP_S else 0.0
