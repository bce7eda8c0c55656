"""How many requests an endpoint gets at once: as many as asked for, fewer while it says that this is too much.

A pure state machine: it is given what happened and says how many may be in flight. The rule is DCTCP's, which cuts in proportion
to the share of refusals instead of halving at the first one: per window of about one limit's worth of completions with a share
f refused, the limit becomes `limit * (1 - 0.75 f)`, and without refusals it grows back a tenth of the way to where it was.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

TOLERATED = 0.02
"""A share of refusals below this is noise and changes nothing."""

MANY = 0.10
"""Above this share the limit only shrinks; below it a cut and the regrowth balance, so that random refusals cost little."""

CUT = 0.75
"""How much of the limit a window of nothing but refusals takes away."""

LATENCY_FACTOR = 4.0
"""A server that queues instead of refusing: a median latency of this many times the best one seen makes the limit shrink, too."""

LATENCY_FLOOR_S = 1.0
"""Below this latency a queue does no harm."""

WINDOW_S = 0.5
"""A window with enough completions ends after this at the latest, so that a storm of refusals is met within a second."""


class InFlightLimit:
    """The number of requests that may be in flight at one endpoint, adapted to what it can take."""

    def __init__(self, ceiling: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.ceiling = ceiling
        self.limit = float(ceiling)
        self.in_use = 0
        self.mean_latency_s = 0.0
        """Moving mean over successful answers; 0 before the first one."""
        self.best_median_s: float | None = None
        self.storm = False
        """More than half of each of the last two windows was refused: the server is down or overloaded."""
        self._last_share = 0.0
        self._remembered = float(ceiling)
        self._clock = clock
        self._latencies: list[float] = []
        self._refused = 0
        self._started = clock()

    @property
    def room(self) -> bool:
        """Whether one more may be sent."""
        return self.in_use < max(1, int(self.limit))

    def take(self) -> None:
        """One more is in flight."""
        self.in_use += 1

    def give_back(self) -> None:
        """One less is in flight."""
        self.in_use -= 1

    def answered(self, latency_s: float) -> None:
        """A request was answered after `latency_s`."""
        self.mean_latency_s = latency_s if not self.mean_latency_s else 0.9 * self.mean_latency_s + 0.1 * latency_s
        self._latencies.append(latency_s)
        self._close_window()

    def refused(self) -> None:
        """A request was refused as too much, or timed out."""
        self._refused += 1
        self._close_window()

    def _close_window(self) -> None:
        count = len(self._latencies) + self._refused
        if count < max(8.0, self.limit):
            overdue = self._clock() - self._started > WINDOW_S
            if count < 8 or not overdue or not self._refused:
                return
        share = self._refused / count
        before, self._last_share = self._last_share, share
        self.storm = min(before, share) > 0.5
        if share > TOLERATED:
            if MANY < share <= 0.5 and before <= 0.5:  # a storm says nothing about the time after it
                self._remembered = self.limit
            self.limit = max(1.0, self.limit * (1 - CUT * share))
        elif self._queues():
            self.limit = max(4.0, self.limit * 0.85)
        if share <= MANY:
            self.limit = min(float(self.ceiling), self.limit + max(1.0, 0.1 * (self._remembered - self.limit)))
        self._latencies.clear()
        self._refused = 0
        self._started = self._clock()

    def _queues(self) -> bool:
        median = statistics.median(self._latencies)
        self.best_median_s = median if self.best_median_s is None else min(median, self.best_median_s * 1.01)
        return median > LATENCY_FLOOR_S and median > LATENCY_FACTOR * self.best_median_s
