"""A foreign program's own times on our clock: what it says late is no clock that was set, and the other way round."""

from __future__ import annotations

import time

import pytest

from millrace.records.training.events import TrainingEvent
from millrace.run import clock
from millrace.training.program_clock import ProgramClock


class Clocks:
    """Our wall clock and our steady one, which only go on when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr(clock, "now", lambda: self.now)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def epoch(number: int, ended: float, wall_s: float) -> TrainingEvent:
    return TrainingEvent(event="epoch", n=number, t=ended, started=ended - wall_s, wall_s=wall_s)


def test_epochs_that_arrive_all_at_once_from_a_buffer_keep_the_times_that_their_program_measured(clocks: Clocks) -> None:
    program = ProgramClock(clocks.now)
    said = [TrainingEvent(event="ready", t=1_001.0)] + [epoch(n, 1_001.0 + 10 * n, 10.0) for n in range(1, 13)]
    told = []
    for block in (said[:4], said[4:9], said[9:]):  # its buffer is full three times
        clocks.now = block[-1].t + 0.5
        for event in block:
            told.append(program.translate(event))
            clocks.now += 1e-4
    assert [event.wall_s for event in told[1:]] == [10.0] * 12
    # Where the first block belongs is known when its last line has come.
    assert [event.t for event in told[3:]] == pytest.approx([event.t for event in said[3:]], abs=1.0)
    assert [event.started for event in told[3:]] == pytest.approx([event.started for event in said[3:]], abs=1.0)
    assert program.step_s == 0.0


@pytest.mark.parametrize("step", [-3600.0, -20.0, 20.0, 3600.0])
def test_a_program_whose_clock_is_set_between_two_lines_keeps_its_real_times(step: float, clocks: Clocks) -> None:
    program = ProgramClock(clocks.now)
    told = []
    for number in range(1, 7):
        clocks.now += 2.0
        shift = step if number > 3 else 0.0
        told.append(program.translate(epoch(number, clocks.now + shift, 2.0 + (step if number == 4 else 0.0))))
    assert [event.wall_s for event in told] == pytest.approx([2.0] * 6, abs=0.2)
    assert [event.t for event in told] == pytest.approx([1_002.0 + 2 * n for n in range(6)], abs=0.2)
    assert program.step_s == pytest.approx(step, abs=0.1)


def test_a_program_whose_lines_come_late_and_whose_clock_is_set_ahead_of_ours_is_put_right(clocks: Clocks) -> None:
    program = ProgramClock(clocks.now)
    for event in (epoch(1, 1_010.0, 10.0), epoch(2, 1_020.0, 10.0)):
        clocks.now = 1_021.0
        program.translate(event)
    clocks.now = 1_031.0
    made = program.translate(epoch(3, 4_630.0, 3_610.0))
    assert made.wall_s == pytest.approx(10.0, abs=1.1)
    assert made.t == pytest.approx(1_030.0, abs=1.1)
    assert program.step_s == pytest.approx(3_600.0, abs=1.1)
