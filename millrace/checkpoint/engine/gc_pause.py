"""Keeps the garbage collector out of the way of 100,000s of new records.

Metadata and plans of a large checkpoint are made of many small objects, all of them in use; each round of the collector walks
them again. With 12,000 tensors that cost as much as the reading itself.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

FREEZE_LIMIT_S = 20.0
"""How long what is alive stays out of the collector's rounds at most: planning 100,000 tensors took up to 9 s on a busy one."""
_lock = threading.Lock()


@contextmanager
def gc_paused() -> Iterator[None]:
    """No garbage collection inside."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class HeapFreeze:
    """Takes what is alive out of the collector's rounds until `thaw`, or for `limit_s` when nobody thaws.

    Between `read_metadata` and `read_data` the planner works, and may fail: then nobody tells the reader. Left alone where the
    program freezes objects itself.
    """

    def __init__(self, limit_s: float = FREEZE_LIMIT_S) -> None:
        self._limit_s = limit_s
        self._timer: threading.Timer | None = None

    def freeze(self) -> None:
        """Freeze what is alive now."""
        with _lock:
            if self._timer is None and gc.isenabled() and gc.get_freeze_count() == 0:
                gc.freeze()
                self._timer = threading.Timer(self._limit_s, self.thaw)
                self._timer.daemon = True
                self._timer.start()

    def thaw(self) -> None:
        """Undo it; nothing when it was not this one that froze."""
        with _lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
                gc.unfreeze()
