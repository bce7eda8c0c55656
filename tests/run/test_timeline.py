"""Where time went: parallel work counts once."""

from __future__ import annotations

import time

import pytest
from msgspec import to_builtins

from millrace.orchestration.abandoned import timed
from millrace.records.summaries import StageSpent
from millrace.run import clock
from millrace.run.timeline import Interval, Timed, Timeline, union


def test_overlapping_work_counts_once() -> None:
    assert union([Interval("a", 0, 2), Interval("a", 1, 3), Interval("b", 5, 6)]) == 4


def test_work_and_orchestration_add_up_to_wall_time() -> None:
    timeline = Timeline()
    timeline.start = 100.0
    timeline.stages = {"qa": [6.0]}
    assert timeline.add("qa", Timed("a", 101.0, 103.0)) == "a"
    timeline.add("qa", Timed("b", 102.0, 105.0))
    seconds = timeline.seconds(until=110.0)
    assert seconds.wall == 10.0
    assert seconds.work == 4.0
    assert seconds.orchestration == 6.0
    assert seconds.stages["qa"] == StageSpent(wall=6.0, work=4.0, orchestration=2.0)
    assert seconds.stages["start and stop"].wall == 4.0


def test_a_timed_function_keeps_its_name_and_says_when_it_worked() -> None:
    def double(number: int) -> int:
        return 2 * number

    result = timed(double)(4)
    assert result.value == 8
    assert result.started <= result.ended
    assert timed(double).__name__ == "double"


@pytest.fixture
def wall(monkeypatch):
    """The wall clock, which a test can set; the monotonic one goes on."""
    real, shift = time.time, [0.0]
    monkeypatch.setattr("time.time", lambda: real() + shift[0])

    def put(seconds: float) -> None:
        shift[0] = seconds

    return put


@pytest.mark.parametrize("step", [-3600.0, 3600.0, -1.0])
def test_a_wall_clock_that_is_set_changes_no_duration_and_is_noted(step: float, wall) -> None:
    timeline = Timeline()
    with timeline.within("qa"), timeline.work("qa"):
        wall(step)
        result = timed(lambda: 4)()
    assert timeline.add("qa", result) == 4
    seconds = timeline.seconds()
    assert 0 <= seconds.stages["qa"].work <= seconds.wall < 5
    assert seconds.clock_step_s == pytest.approx(step, abs=0.4)
    assert "clock_step_s" not in to_builtins(Timeline().seconds())


def test_intervals_of_processes_that_began_before_and_after_a_step_overlap_as_they_did() -> None:
    timeline = Timeline(1_000.0 + clock.ANCHOR.offset)
    late = clock.Anchor(clock.ANCHOR.boot, clock.ANCHOR.offset - 3600.0)  # a worker that was started when the clock was wrong
    timeline.add("qa", Timed("a", clock.at(1_001.0), clock.at(1_003.0), clock.ANCHOR))
    timeline.add("qa", Timed("b", late.offset + 1_002.0, late.offset + 1_004.0, late))
    assert timeline.seconds(until=clock.at(1_010.0)).work == pytest.approx(3.0)
    elsewhere = clock.Anchor("another machine", late.offset)
    timeline.add("qa", Timed("c", clock.at(1_005.0), clock.at(1_006.0), elsewhere))
    assert timeline.seconds(until=clock.at(1_010.0)).work == pytest.approx(4.0)
