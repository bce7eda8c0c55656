"""Signals that wait while Prefect submits a task: an exception raised inside its serializers would be lost.

A handler's exception comes wherever the main thread is. In a call from pydantic's serializer it becomes a serialization error,
which Prefect passes over in places, so a cancel, Ctrl-C or a lost server went unheard: seen while 10,000 shards were submitted.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C, a cancel, and what `server_watch` sends to the main thread."""


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """A signal that comes in the block is handled at its end; the same one again, at once. For blocks of some milliseconds.

    Does nothing outside of the main thread, where no signal is handled.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in HELD}
    came: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        handler = handlers[signal.Signals(number)]
        if number in came and callable(handler):
            came.clear()
            handler(number, frame)
        came.append(number)

    held = [number for number, handler in handlers.items() if callable(handler)]
    for number in held:
        signal.signal(number, remember)
    try:
        yield
    finally:
        for number in held:
            signal.signal(number, handlers[number])
        if came:
            signal.raise_signal(came[0])
