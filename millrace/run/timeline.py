"""Where a run's time went: intervals of work, and what is left between them.

A stage's *work* is the wall-clock time in which at least one of its shards, ranks or trainings was at work (the union of their
intervals, so parallel work does not count twice). What remains of a run's wall time is orchestration: starting the API, the
cluster and the flow, submitting, waiting for states, stopping.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import msgspec
from msgspec import UNSET

from millrace.records.summaries import RunSpent, StageSpent
from millrace.run import clock


class Interval(msgspec.Struct, frozen=True):
    """A stretch of work, in seconds since the epoch by `clock.now`: intervals of several processes and machines compare."""

    stage: str
    start: float
    end: float


R = TypeVar("R")


class Timed(msgspec.Struct, Generic[R], frozen=True):
    """What a shard's work returned, and when it was at work by its process's `clock.now`, which `anchor` makes comparable."""

    value: R
    started: float
    ended: float
    anchor: clock.Anchor | None = None


class Timeline:
    """The intervals of one run.

    Covers: a wall clock that is set while the run goes on, on this machine: nothing is measured by it, and `seconds` notes it.
    Does not cover: workers on other machines whose clocks were wrong when they started; their intervals are taken as they are.
    """

    def __init__(self, start: float | None = None) -> None:
        self.start = clock.now() if start is None else start
        self.stepped = clock.stepped_s()
        self.intervals: list[Interval] = []
        self.stages: dict[str, list[float]] = {}

    @contextmanager
    def work(self, stage: str) -> Iterator[None]:
        """Count the block as work of `stage`."""
        start = clock.now()
        try:
            yield
        finally:
            self.intervals.append(Interval(stage, start, clock.now()))

    @contextmanager
    def within(self, stage: str) -> Iterator[None]:
        """Count the block as the wall time of `stage`: its work and the orchestration around it."""
        start = clock.now()
        try:
            yield
        finally:
            self.stages.setdefault(stage, []).append(clock.now() - start)

    def add(self, stage: str, result: Timed[R]) -> R:
        """Take in when a shard was worked on; returns its result."""
        started, ended = result.started, result.ended
        if result.anchor is not None:
            started, ended = (clock.translated(moment, result.anchor) for moment in (started, ended))
        self.intervals.append(Interval(stage, started, ended))
        return result.value

    def seconds(self, *, until: float | None = None) -> RunSpent:
        """Where the time went. What is outside every stage belongs to the stage `start and stop`."""
        wall = (clock.now() if until is None else until) - self.start
        work = union(self.intervals)
        stages: dict[str, StageSpent] = {}
        for name, spans in self.stages.items():
            worked = union(interval for interval in self.intervals if interval.stage == name)
            stages[name] = StageSpent(wall=sum(spans), work=worked, orchestration=max(0.0, sum(spans) - worked))
        outside = wall - sum(entry.wall for entry in stages.values())
        stages["start and stop"] = StageSpent(wall=max(0.0, outside), work=0.0, orchestration=max(0.0, outside))
        step = clock.stepped_s(self.stepped) or UNSET
        return RunSpent(wall=wall, work=work, orchestration=max(0.0, wall - work), stages=stages, clock_step_s=step)


def union(intervals: Iterable[Interval]) -> float:
    """The length in seconds of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for interval in sorted(intervals, key=lambda one: one.start):
        start = max(interval.start, reached)
        if interval.end > start:
            total += interval.end - start
            reached = interval.end
    return total
