"""A training program's own times, put on our clock, which is steady (millrace/run/clock.py)."""

from __future__ import annotations

import time

from msgspec import structs

from millrace.records.training.events import TrainingEvent
from millrace.run import clock

FOREIGN_STEP_S = 5.0
"""A program whose times are this much further from ours than before has had its clock set. On a busy machine what it says can
come late by a second or two."""

TOGETHER_S = 0.1
"""Lines that arrive this close to each other, and were printed further apart than a clock that is set needs, were in a buffer."""


class ProgramClock:
    """Translates the `t`, `started` and `wall_s` of events, one event after the other.

    Our own workloads say where their clock began (`clock` in `start`). Of other programs it is watched how far their times are
    from ours: where that changes, the wall clock was set, and what was measured by it in between is put right.

    Covers: a wall clock that is set for the whole machine (from half a second), or for the program alone (from 5 s); output that
    arrives in blocks, because the program or a pipe behind it buffers, which is no clock that was set.
    Does not cover: a program whose clock runs too fast or too slow; when the epochs of the first block were, whose lengths are
    right; a clock that is set back for the program alone, if its output arrives in blocks and the epoch was longer than that.
    """

    def __init__(self, began: float) -> None:
        self.step_s = 0.0
        """By how much the program's clock was set, all together; 0: never."""
        self._anchor: clock.Anchor | None = None
        self._offset: float | None = None
        self._lag = self._last_lag = 0.0
        self._arrived = self._latest = began
        self._buffered = False
        self._epoch_began, self._epoch_offset = began, 0.0

    def translate(self, event: TrainingEvent) -> TrainingEvent:
        """`event` with its times on our clock. One that does not say when it was happened when its line arrived."""
        if event.event == "start" and event.clock is not None:
            self._anchor = clock.Anchor(event.clock.boot, event.clock.offset)
        if self._anchor is not None and event.t is not None:
            started = None if event.started is None else clock.translated(event.started, self._anchor)
            return structs.replace(event, t=clock.translated(event.t, self._anchor), started=started)
        arrived = clock.now()
        if event.t is None:
            made = structs.replace(event, t=arrived)
        else:
            offset = self._offset_now(event.t, arrived)
            made = structs.replace(event, t=min(event.t - offset, arrived))
            if event.event == "epoch":
                made = self._epoch(made, offset)
        self._latest = made.at
        if event.event in {"ready", "epoch"}:
            self._epoch_began, self._epoch_offset = made.at, self._offset or 0.0
        return made

    def _offset_now(self, said: float, arrived: float) -> float:
        wall = time.time()
        lag, together = said - wall, arrived - self._arrived < TOGETHER_S
        self._buffered |= together and lag - self._last_lag > FOREIGN_STEP_S
        self._arrived, self._last_lag = arrived, lag
        if self._buffered and self._is_late(lag, said - (wall - arrived), together=together):
            nearer = max(lag - self._lag, 0.0)
            self._lag += nearer
            self._epoch_offset += nearer
            if self._offset is not None:
                self._offset += nearer
        elif abs(lag - self._lag) > FOREIGN_STEP_S:
            self._lag = lag
        offset = wall - arrived + self._lag
        if abs(offset) < clock.STEP_S:
            offset = 0.0
        if self._offset is None:
            self._offset = self._epoch_offset = offset
        elif abs(offset - self._offset) > clock.STEP_S:
            self.step_s += offset - self._offset
            self._offset = offset
        return self._offset

    def _is_late(self, lag: float, moment: float, *, together: bool) -> bool:
        """Whether a line was only held up in a buffer, and no clock was set: the latest lines are the nearest to the clock."""
        if lag > self._lag:
            return together or lag - self._lag <= FOREIGN_STEP_S
        return moment - self._lag >= self._latest - FOREIGN_STEP_S

    def _epoch(self, event: TrainingEvent, offset: float) -> TrainingEvent:
        """When an epoch began and how long it took, whichever clock its program looked at before and after."""
        ended, started, wall_s = event.at, event.started, event.wall_s
        step, span = offset - self._epoch_offset, max(ended - self._epoch_began, 0.0)
        if started is not None:
            choices = (started - self._epoch_offset, started - offset)
            likely = [one for one in choices if self._epoch_began - 0.1 <= one <= ended]
            started = likely[0] if likely else self._epoch_began if step else choices[0]
        if wall_s is not None and (step or wall_s < 0):
            likely = [one for one in {wall_s, wall_s - step} if 0.0 <= one <= span + 0.1]
            wall_s = likely[0] if len(likely) == 1 else span
        return structs.replace(event, started=started, wall_s=wall_s)
