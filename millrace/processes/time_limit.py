"""A limit on a block of the main thread that holds whatever the block waits for.

Covers: sleeping, waiting for programs, threads, pipes and sockets; a block that catches every Exception.
Does not cover: one call into C that takes long in this very process (the block ends after it); a block off the main thread, where
nothing can be interrupted: `TimeLimit.enforced` is then false.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN_S = 10.0
"""A block that has swallowed the interruption is interrupted again so often."""


class TimedOut(KeyboardInterrupt):
    """Raised in the middle of the block. No Exception: what makes records of failed items must not catch it."""


def can_be_limited() -> bool:
    """Whether this thread can be interrupted."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Interrupt the block after `seconds`; None: never.

    Raises:
        TimedOut: the time is over.
        RuntimeError: this is not the main thread.
    """
    if seconds is None:
        yield
        return
    if not can_be_limited():
        raise RuntimeError("only the main thread can be limited")

    def over(number: int, frame: FrameType | None) -> None:
        raise TimedOut

    old = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, old)
