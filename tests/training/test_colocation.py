"""Pure parts of the parallel mode: restarts, windows, slowdown, load control, overlap."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from millrace.records.training.comparison import Epoch, EpochEnergy
from millrace.records.training.events import TrainingEvent
from millrace.run import clock
from millrace.training.backgrounds.background_record import BackgroundRecord, interpolate
from millrace.training.backgrounds.colocation import (
    LoadController,
    compare,
    foreground_cpu_s,
    interval,
    load_of,
    metric_differences,
    pairs,
    wanted_load,
)
from millrace.training.backgrounds.restarts import RestartPolicy
from millrace.training.backgrounds.spans import Spans
from millrace.training.results.plots import Point, pareto, scatter, ticks
from millrace.training.settings import Background, Restart
from tests.training.made_records import alone, epoch


def policy(**settings) -> RestartPolicy:
    return RestartPolicy(Restart(**settings), random.Random(0))


def test_waits_double_up_to_the_limit_with_at_most_a_fifth_of_jitter():
    machine = policy(max_failures=100, backoff_limit_s=10, window_s=1e9)
    waits = [machine.after_exit(float(n), failed=True, trained_s=0.0) for n in range(6)]
    for wait, base in zip(waits, [1, 2, 4, 8, 10, 10], strict=True):
        assert base <= wait <= base * 1.2


def test_too_many_failures_within_the_window_open_the_breaker():
    machine = policy(max_failures=3, window_s=100)
    assert machine.after_exit(0.0, failed=True, trained_s=0.0) is not None
    assert machine.after_exit(50.0, failed=True, trained_s=0.0) is not None
    assert machine.after_exit(99.0, failed=True, trained_s=0.0) is None
    assert machine.fatal


def test_failures_far_apart_never_open_the_breaker():
    machine = policy(max_failures=2, window_s=10)
    for n in range(50):
        assert machine.after_exit(n * 11.0, failed=True, trained_s=0.0) is not None


def test_a_healthy_stretch_starts_the_waits_from_the_beginning():
    machine = policy(max_failures=100, window_s=1e9, healthy_s=30)
    for n in range(4):
        machine.after_exit(float(n), failed=True, trained_s=0.0)
    assert machine.after_exit(100.0, failed=True, trained_s=31.0) <= 1.2


@pytest.mark.parametrize(
    ("policy_name", "failed", "again", "fatal"),
    [
        ("always", False, True, False),
        ("on_failure", False, False, False),
        ("on_failure", True, True, False),
        ("never", False, False, False),
        ("never", True, False, True),
    ],
)
def test_the_policy_says_what_is_restarted(policy_name, failed, again, fatal):
    machine = policy(policy=policy_name)
    assert (machine.after_exit(0.0, failed=failed, trained_s=0.0) is not None) == again
    assert machine.fatal == fatal


def test_the_first_epoch_warms_up_and_windows_come_in_the_order_abba():
    assert [wanted_load(n, 1) for n in range(1, 10)] == [
        "warm_up", "solo", "shared", "shared", "solo", "solo", "shared", "shared", "solo",
    ]  # fmt: skip
    assert [wanted_load(n, 2) for n in range(2, 10)] == ["solo"] * 2 + ["shared"] * 4 + ["solo"] * 2


def test_an_epoch_that_was_partly_shared_is_neither():
    assert [load_of(overlap, "shared") for overlap in (0.05, 0.5, 0.95)] == ["solo", "mixed", "shared"]


def epochs_with(solo: float, shared: float, count: int, **more) -> list[Epoch]:
    loads = [wanted_load(n, 1) for n in range(1, count + 1)]
    walls = {"warm_up": 9.0, "solo": solo, "shared": shared}
    return [epoch(load, walls[load], **more) for load in loads]


def test_pairs_are_neighbours_and_no_window_is_used_twice():
    assert pairs(epochs_with(2.0, 3.0, 9)) == [1.5] * 4
    assert pairs(epochs_with(2.0, 3.0, 3)) == [1.5]
    assert pairs(epochs_with(2.0, 3.0, 2)) == []


def test_an_epoch_without_a_tick_of_cpu_time_makes_no_pair():
    epochs = [replace(one, foreground_cpu_s=0.0 if one.load == "shared" else 0.01) for one in epochs_with(2.0, 3.0, 9)]
    assert pairs(epochs, foreground_cpu_s) == []


def test_a_drift_of_the_machine_cancels_out_of_the_slowdown():
    epochs = [replace(one, wall_s=one.wall_s * (1 + 0.02 * n)) for n, one in enumerate(epochs_with(1.0, 1.3, 41))]
    found = interval(pairs(epochs))
    assert found.estimate == pytest.approx(1.3, rel=0.01)
    assert found.low < 1.3 < found.high


def test_a_steady_improvement_is_not_taken_for_an_effect_of_the_load():
    noise = random.Random(1)
    epochs = [
        replace(one, metrics={"score": 0.5 + 0.02 * n + noise.gauss(0, 0.001)}, loss=1 - 0.03 * n)
        for n, one in enumerate(epochs_with(1.0, 1.0, 14))
    ]
    found = metric_differences(epochs)
    assert found["score"].blocks == 3
    assert abs(found["score"].estimate) < 0.002
    assert found["score"].low < 0 < found["score"].high
    assert found["loss"].estimate == pytest.approx(0, abs=1e-12)


def test_what_a_metric_loses_under_load_is_found_through_the_trend():
    noise = random.Random(3)
    epochs = [
        replace(one, metrics={"score": 0.5 + 0.02 * n - (0.1 if one.load == "shared" else 0.0) + noise.gauss(0, 0.002)})
        for n, one in enumerate(epochs_with(1.0, 1.0, 14))
    ]
    found = metric_differences(epochs)["score"]
    assert found.low < -0.1 < found.high < 0


def test_too_few_blocks_give_no_interval_and_the_reason():
    found = metric_differences(epochs_with(1.0, 1.0, 9, metrics={"score": 0.5}))
    score = found["score"]
    assert (score.blocks, score.low, score.reason) == (2, None, "fewer than 3 blocks: no interval")
    assert found["loss"].estimate is None  # this program says no loss


def test_the_interval_is_the_same_for_the_same_seed_and_missing_for_few_pairs():
    ratios = [1.1, 1.3, 1.2, 1.5, 0.9]
    assert interval(ratios, 7) == interval(ratios, 7)
    assert interval([1.2, 1.3]).low is None
    assert interval([]).estimate is None


@given(st.lists(st.floats(0.5, 3.0), min_size=3, max_size=20))
def test_the_estimate_lies_within_its_interval(ratios):
    found = interval(ratios)
    assert found.low <= found.estimate * (1 + 1e-9)
    assert found.estimate <= found.high * (1 + 1e-9)


def test_throughput_and_costs_follow_from_the_windows():
    figures = {True: {"background_samples": 200.0, "energy_j": 150.0}, False: {"background_samples": 0.0, "energy_j": 100.0}}
    epochs = [replace(one, **figures[one.load == "shared"]) for one in epochs_with(2.0, 2.5, 17, foreground_cpu_s=1.0)]
    found = compare(epochs, alone(100.0, watts=30.0))
    assert found.throughput.foreground == pytest.approx(0.8)
    assert found.throughput.background == pytest.approx(0.8)
    assert found.throughput.sum == pytest.approx(1.6)
    assert found.epoch_energy_j.shared == 150.0
    assert found.epoch_energy_j.one_after_the_other == pytest.approx(100 + 30 * 2)
    assert found.epoch_wall_s_one_after_the_other == pytest.approx(4.0)


def test_what_was_not_measured_is_none_all_the_way():
    found = compare(epochs_with(2.0, 2.5, 5), None)
    assert found.epoch_energy_j == EpochEnergy(solo=None, shared=None, one_after_the_other=None)
    assert found.throughput.sum is None


def test_a_baseline_disturbed_by_strangers_is_marked():
    calm = compare(epochs_with(2.0, 2.5, 5, cpu_s=1.9, threads=1), None).contaminated
    disturbed = compare(epochs_with(2.0, 2.5, 5, cpu_s=1.0, threads=1), None).contaminated
    assert calm.baseline_contaminated is False
    assert disturbed.baseline_contaminated is True
    assert compare(epochs_with(2.0, 2.5, 5, cpu_s=1.0), None).contaminated.baseline_contaminated is None


@pytest.mark.parametrize("per_unit", [0.1, 0.4, 0.8, 1.6])
def test_the_load_settles_within_five_dwells_and_changes_at_most_once_in_each(per_unit):
    controller = LoadController(limit=1.3, dwell_epochs=3, step=0.125)
    noise = random.Random(1)
    levels: list[float] = []
    changes: list[int] = []
    for number in range(90):
        slowdown = 1 + per_unit * controller.level + noise.gauss(0, 0.002)
        if controller.after_epoch(slowdown):
            changes.append(number)
        levels.append(controller.level)
    assert all(b - a >= 3 for a, b in itertools.pairwise(changes))
    allowed = min(1.0, 0.3 / per_unit)
    assert all(level <= allowed * 1.06 + 0.125 for level in levels[15:])
    assert max(levels[15:]) > 0


def test_no_load_is_taken_away_that_does_not_slow_the_foreground():
    controller = LoadController(limit=1.3, dwell_epochs=1, step=0.25)
    assert [controller.after_epoch(1.05) for _ in range(5)] == [None] * 5
    assert controller.level == 1.0


def test_overlap_and_gaps_are_right():
    spans = Spans()
    for on, at in ((True, 5.0), (False, 12.0), (True, 14.0), (False, 30.0)):
        spans.switch(on, at)
    assert spans.overlap(10.0, 20.0) == pytest.approx(8.0)
    assert spans.gaps(10.0, 20.0) == [(2.0, 4.0)]
    assert spans.gaps(0.0, 4.0) == [(0.0, 4.0)]


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=20, unique=True), st.floats(0, 1000), st.floats(0, 1000))
def test_overlap_and_gaps_make_up_the_window(times, a, b):
    spans = Spans()
    for number, at in enumerate(sorted(times)):
        spans.switch(number % 2 == 0, at)
    if len(times) % 2:
        spans.switch(False, 1001.0)
    start, end = sorted((a, b))
    gaps = sum(late - early for early, late in spans.gaps(start, end, shortest_s=0.0))
    assert gaps + spans.overlap(start, end) == pytest.approx(end - start, abs=1e-6)


def test_samples_are_interpolated_between_what_was_told():
    points = [(0.0, 0.0), (10.0, 100.0), (20.0, 100.0)]
    assert [interpolate(points, at) for at in (-1.0, 5.0, 15.0, 99.0)] == [0.0, 50.0, 100.0, 100.0]


def test_the_pareto_front_holds_whom_nobody_beats():
    points = [(1.0, 0.5), (2.0, 0.9), (3.0, 0.8), (3.0, 0.9), (0.5, 0.1)]
    assert pareto(points, higher_is_better=True) == [True, True, False, False, True]
    assert pareto([(1.0, 0.5), (2.0, 0.4)], higher_is_better=False) == [True, True]


def test_labels_in_a_chart_are_escaped():
    chart = scatter([Point(1, 1, "<script>"), Point(2, 2)], "<x>", "y")
    assert "<script>" not in chart
    assert "<x>" not in chart


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_lie_within_the_axis(low, width):
    found = ticks(low, low + width)
    assert 1 <= len(found) <= 7
    assert all(low - width * 1e-3 <= tick <= low + width * 1.001 for tick in found)


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=20, unique=True), st.integers(1, 9))
def test_the_parts_of_the_time_in_which_something_was_on_are_all_of_it_and_alike(times, count):
    spans = Spans()
    for number, at in enumerate(sorted(times)):
        spans.switch(number % 2 == 0, at)
    if len(times) % 2:
        spans.switch(False, 1001.0)
    parts = spans.parts(100.0, 900.0, count)
    whole = spans.overlap(100.0, 900.0)
    assume(whole == 0 or whole > 1e-3)
    assert sum(b - a for part in parts for a, b in part) == pytest.approx(whole)
    assert len(parts) == (count if whole else 0)
    assert all(sum(b - a for a, b in part) == pytest.approx(whole / count, rel=1e-4, abs=1e-6) for part in parts)


def test_a_backgrounds_rate_is_of_the_time_in_which_it_trained_and_has_an_interval(monkeypatch):
    at = [0.0]
    monkeypatch.setattr(clock, "now", lambda: at[0])
    record = BackgroundRecord(Background(id="load", workload="lstm"))
    record.enter("starting")
    record.take(TrainingEvent(event="ready", t=0.0))
    samples = 0.0
    for turn in range(8):
        record.enter("training")
        record.go_on()
        at[0] += 10.0
        samples += 1000.0 + (10.0 if turn % 2 else -10.0)
        record.take(TrainingEvent(event="progress", t=at[0], samples_total=samples))
        record.enter("paused")
        at[0] += 30.0
    found = record.report(None, 0.0, 0.0, at[0]).samples_per_s
    assert found.estimate == pytest.approx(100.0)
    assert (found.count, found.low < 100.0 < found.high) == (8, True)
    assert found.high - found.low < 3.0
    silent = BackgroundRecord(Background(id="load", workload="lstm")).report(None, 0.0, 0.0, 1.0).samples_per_s
    assert silent.estimate is None
    assert "does not say its samples" in silent.reason
