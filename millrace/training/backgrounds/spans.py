"""Stretches of time during which something was on."""

from __future__ import annotations

from millrace.run import clock


class Spans:
    """When something was on, in seconds since the epoch."""

    def __init__(self) -> None:
        self.closed: list[tuple[float, float]] = []
        self.since: float | None = None

    def switch(self, on: bool, at: float) -> None:
        """It is on or off from `at`."""
        if on and self.since is None:
            self.since = at
        elif not on and self.since is not None:
            self.closed.append((self.since, at))
            self.since = None

    def all(self) -> list[tuple[float, float]]:
        """Every stretch, the present one up to now."""
        return self.closed + ([(self.since, clock.now())] if self.since is not None else [])

    def overlap(self, start: float, end: float) -> float:
        """Seconds between `start` and `end` during which it was on."""
        return sum(max(0.0, min(end, b) - max(start, a)) for a, b in self.all())

    def parts(self, start: float, end: float, count: int) -> list[list[tuple[float, float]]]:
        """The time between `start` and `end` during which it was on, in `count` parts of the same length, each of one or more
        stretches; empty when it never was."""
        inside = [(max(a, start), min(b, end)) for a, b in sorted(self.all()) if min(b, end) > max(a, start)]
        length = sum(b - a for a, b in inside) / count
        found: list[list[tuple[float, float]]] = []
        room = 0.0
        for first, last in inside:
            at = first
            while last - at > 1e-9:
                if room <= 1e-9 and len(found) < count:
                    found.append([])
                    room = length
                step = min(last - at, room) if len(found) < count else last - at
                found[-1].append((at, at + step))
                at, room = at + step, room - step
        return found

    def gaps(self, start: float, end: float, shortest_s: float = 0.05) -> list[tuple[float, float]]:
        """The stretches between `start` and `end` during which it was off, as seconds after `start`."""
        found, reached = [], start
        for a, b in sorted(self.all()):
            if b <= start or a >= end:
                continue
            if a - reached > shortest_s:
                found.append((reached - start, a - start))
            reached = max(reached, b)
        if end - reached > shortest_s:
            found.append((reached - start, end - start))
        return found
