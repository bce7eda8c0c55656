"""Keeps the garbage collector out of the way of 100,000s of new records.

Metadata and plans of a large checkpoint are made of many small objects, all of them in use; each round of the collector walks
them again. With 12,000 tensors that cost as much as the reading itself.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

FREEZE_LIMIT_S = 20.0
"""How long what is alive stays out of the collector's rounds at most: planning 100,000 tensors took up to 9 s on a busy one."""


class _Collector:
    """What was done to the collector, by all threads together."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pauses = 0
        self.was_enabled = False
        self.freezes = 0

    def begin_anew(self) -> None:
        """In a child made by `fork` during a load: threads are not copied, so pauses that the parent's threads began end here."""
        self.lock = threading.Lock()
        if self.pauses and self.was_enabled:
            gc.enable()
        if self.freezes:
            gc.unfreeze()
        self.pauses = self.freezes = 0


_collector = _Collector()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_collector.begin_anew)


@contextmanager
def gc_paused() -> Iterator[None]:
    """No garbage collection inside, in any thread."""
    with _collector.lock:
        if not _collector.pauses:
            _collector.was_enabled = gc.isenabled()
        _collector.pauses += 1
        gc.disable()
    pid = os.getpid()
    try:
        yield
    finally:
        with _collector.lock:
            if os.getpid() == pid and _collector.pauses:
                _collector.pauses -= 1
                if not _collector.pauses and _collector.was_enabled:
                    gc.enable()


class HeapFreeze:
    """Takes what is alive out of the collector's rounds until `thaw`, at most for `limit_s`.

    Between the metadata and `read_data` the planner works, and may fail, and the reader is not called again. Left alone where the
    program freezes objects itself.
    """

    def __init__(self, limit_s: float = FREEZE_LIMIT_S) -> None:
        self._limit_s = limit_s
        self._timer: threading.Timer | None = None
        self._pid = 0

    def freeze(self) -> None:
        """Freeze what is alive now."""
        with _collector.lock:
            self._forget_in_a_child()
            enabled = _collector.was_enabled if _collector.pauses else gc.isenabled()
            if self._timer is None and enabled and gc.get_freeze_count() == 0:
                gc.freeze()
                _collector.freezes += 1
                self._pid = os.getpid()
                self._timer = threading.Timer(self._limit_s, self.thaw)
                self._timer.daemon = True
                self._timer.start()

    def thaw(self) -> None:
        """Undo it; nothing when it was not this one that froze."""
        with _collector.lock:
            self._forget_in_a_child()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
                _collector.freezes -= 1
                gc.unfreeze()

    def _forget_in_a_child(self) -> None:
        if self._timer is not None and self._pid != os.getpid():
            self._timer = None  # its thread was the parent's
