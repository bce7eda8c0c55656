"""Ends a wait for a file system that does not answer: a read from a dead server can't be interrupted, only left behind.

So whatever may wait for one runs on a thread of its own, and the calling thread looks how long the read under way has been out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Result = TypeVar("Result")
STALL_S = 600.0
"""How long one read may have no answer: a server that restarts comes back in a few minutes."""
LOOK_S = 0.5
"""Between two looks, at most."""


class StalledRead(Exception):
    """A read has had no answer for so long; the arguments are the file and the seconds."""

    def __init__(self, file: str, seconds: float) -> None:
        super().__init__(file, seconds)
        self.file, self.seconds = file, seconds

    def __str__(self) -> str:
        return (
            f"no answer for {self.seconds:.0f} s while it was read: a network file system that is gone? "
            "stall_s says how long a read may take"
        )


class Watch:
    """Which calls to the file system are out, and since when.

    Covers: calls that are announced with `begin` and `end`. Does not cover: slow ones that do answer; their bytes count.

    Args:
        stall_s: how long one call may take; None: for ever.
    """

    def __init__(self, stall_s: float | None) -> None:
        self.stall_s = stall_s
        self.look_s = None if stall_s is None else min(LOOK_S, stall_s / 4)
        self._out: dict[int, tuple[float, str]] = {}

    def begin(self, file: str) -> None:
        """A call of this thread goes out."""
        self._out[threading.get_ident()] = time.monotonic(), file

    def end(self) -> None:
        """It has come back."""
        self._out.pop(threading.get_ident(), None)

    @contextmanager
    def calling(self, file: str) -> Iterator[None]:
        """A call of this thread, for the length of a block."""
        self.begin(file)
        try:
            yield
        finally:
            self.end()

    def check(self) -> None:
        """Raises StalledRead when a call has been out for too long."""
        if self.stall_s is None:
            return
        now = time.monotonic()
        for start, file in list(self._out.values()):
            if now - start > self.stall_s:
                raise StalledRead(file, now - start)

    def wait_for(self, work: Callable[[], Result]) -> Result:
        """What `work` returns or raises, done on another thread; `work` announces its calls.

        Raises:
            StalledRead: it waits for the file system; it is left behind.
        """
        if self.stall_s is None:
            return work()
        result: list[Any] = []
        failure: list[BaseException] = []

        def run() -> None:
            try:
                result.append(work())
            except BaseException as error:  # noqa: BLE001 - raised again by the caller
                failure.append(error)

        thread = threading.Thread(target=run, name="checkpoint-wait", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(self.look_s)
            if thread.is_alive():
                self.check()
        if failure:
            raise failure[0]
        return result[0]  # type: ignore[no-any-return]
