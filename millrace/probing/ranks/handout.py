"""Handing units out to ranks, and the place where a run stops.

Ranks take the next unit from one shared counter, so none starves while another has work. Where the run stops is decided on
the units in their order, never on who was faster: the first unit at which the target is reached, or that completes
`max_empty_batches` empty ones in a row. What ranks probed beyond it is kept in the work folder and left out of the outcomes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import msgspec


class Stop(msgspec.Struct, frozen=True):
    """Where a run stops: after unit `last` (-1: before the first), and why."""

    last: int
    reason: str
    """`target`, `empty` (too many units without a failure), or `exhausted` (no images left)."""


def find_stop(failures: Sequence[int], *, target: int | None, max_empty: int | None, complete: bool) -> Stop | None:
    """Where the run stops, given the failures of its first units in order; None: not yet known.

    Args:
        failures: failures of unit 0, 1, … without a gap.
        target: the failures wanted; None for no target.
        max_empty: units without a failure in a row that end the run; None for never.
        complete: whether `failures` covers all the units there are.
    """
    total = empty = 0
    for index, count in enumerate(failures):
        total += count
        empty = 0 if count else empty + 1
        if target is not None and total >= target:
            return Stop(index, "target")
        if max_empty is not None and empty >= max_empty:
            return Stop(index, "empty")
    return Stop(len(failures) - 1, "exhausted") if complete else None


class Store(Protocol):
    """The part of `torch.distributed.Store` that is used here."""

    def add(self, key: str, amount: int) -> int:
        """Add to a counter and return its new value."""

    def set(self, key: str, value: str) -> None:
        """Set a value."""

    def get(self, key: str) -> bytes:
        """The value of a key that is there."""

    def check(self, keys: list[str]) -> bool:
        """Whether all keys are there."""


class Handout:
    """One rank's view of the shared counter and of the units that are done.

    Args:
        store: shared by all ranks.
        name: made new by each start of the ranks, so that a restart counts from the beginning (done units are skipped fast).
    """

    def __init__(self, store: Store, name: str, *, target: int | None, max_empty: int | None) -> None:
        self.store = store
        self.name = name
        self.target = target
        self.max_empty = max_empty
        self._counts: list[int] = []

    def take(self) -> int | None:
        """The index of the next unit to work on; None when the run has reached its stop."""
        if self.stopped():
            return None
        return self.store.add(f"{self.name}/next", 1) - 1

    def report(self, index: int, failures: int) -> None:
        """Tell everyone that unit `index` is done with so many failures."""
        self.store.set(f"{self.name}/done/{index}", str(failures))
        self.store.add(f"{self.name}/failures", failures)

    def stopped(self) -> bool:
        """Whether no further unit is needed.

        Either the units done in a row say so; or all that are done, with gaps that others are filling, hold the target's
        failures already, so the stop lies at or before the last of them.
        """
        if self.target is not None and self.store.add(f"{self.name}/failures", 0) >= self.target:
            return True
        while self.store.check([f"{self.name}/done/{len(self._counts)}"]):
            self._counts.append(int(self.store.get(f"{self.name}/done/{len(self._counts)}")))
        return find_stop(self._counts, target=self.target, max_empty=self.max_empty, complete=False) is not None

    def leave(self, ranks: int) -> None:
        """Wait until every rank has left, so that the store outlives its last user. Ends with the process when one crashed."""
        self.store.add(f"{self.name}/left", 1)
        while self.store.add(f"{self.name}/left", 0) < ranks:
            time.sleep(0.05)
