"""A circuit breaker: an endpoint that fails again and again is left alone for a while and then tried with one request."""

from __future__ import annotations

import time
from collections.abc import Callable

from millrace.records.llm import FailureKind

TOLERATED = {"connection": 1, "server": 10, "timeout": 10, "malformed": 10}
"""Failures in a row before the breaker opens. A refused connection is certain at once; the others may belong to the request."""

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 10.0


class Breaker:
    """Whether an endpoint is worth a request. A pure state machine."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.in_a_row = 0
        self.open_until: float | None = None
        """When one request may try again; None while all is well."""
        self.failing_since: float | None = None
        """Since when nothing has succeeded; None after a success."""
        self.probing = False
        """The one request that tries is on its way."""
        self.last_detail = ""
        self._pauses = 0

    def admits(self) -> bool:
        """Whether a request may go now."""
        return self.open_until is None or (not self.probing and self._clock() >= self.open_until)

    def sent(self) -> None:
        """A request goes; with an open breaker it is the probe."""
        if self.open_until is not None:
            self.probing = True

    def succeeded(self) -> None:
        """The endpoint answered: all is well."""
        self.in_a_row = self._pauses = 0
        self.open_until = self.failing_since = None
        self.probing = False

    def alive(self) -> None:
        """The endpoint answered, though not with what was asked for (it refused, or it is busy)."""
        self.probing = False
        if self.open_until is not None:
            self.open_until = self._clock()

    def failed(self, kind: FailureKind, detail: str, *, first: bool = True) -> None:
        """A request failed by the endpoint's fault.

        Args:
            kind: the class of the failure.
            detail: for the message.
            first: False for a request that has failed before: that says something about the request, not about the endpoint, so
                it opens nothing. A broken connection always counts.
        """
        now = self._clock()
        was_probe, self.probing = self.probing, False
        if not first and kind != "connection":
            if was_probe:
                self.open_until = now + FIRST_PAUSE_S
            return
        self.in_a_row += 1
        self.last_detail = detail
        self.failing_since = now if self.failing_since is None else self.failing_since
        if self.in_a_row >= TOLERATED.get(kind, 10):
            if self.open_until is None or now >= self.open_until:  # failures of one moment are one reason to wait
                self._pauses += 1
            self.open_until = now + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._pauses, 20))

    def failing_for_s(self) -> float:
        """Seconds without any success while failing; 0 when all is well."""
        return 0.0 if self.failing_since is None else self._clock() - self.failing_since
