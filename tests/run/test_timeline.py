"""Where time went: parallel work counts once."""

from __future__ import annotations

from millrace.orchestration.abandoned import timed
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
    assert seconds["wall"] == 10.0
    assert seconds["work"] == 4.0
    assert seconds["orchestration"] == 6.0
    assert seconds["stages"]["qa"] == {"wall": 6.0, "work": 4.0, "orchestration": 2.0}
    assert seconds["stages"]["start and stop"]["wall"] == 4.0


def test_a_timed_function_keeps_its_name_and_says_when_it_worked() -> None:
    def double(number: int) -> int:
        return 2 * number

    result = timed(double)(4)
    assert result.value == 8
    assert result.started <= result.ended
    assert timed(double).__name__ == "double"
