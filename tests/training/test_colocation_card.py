"""The colocation card: on a simulated machine whose power is known, its figures are the true ones, and add up to its meter."""

from __future__ import annotations

import random
import time
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from millrace.records.record import decode, encode
from millrace.records.training.attempt import AttemptRecord
from millrace.records.training.backgrounds import BackgroundsAlone
from millrace.records.training.colocation_card import ColocationCard
from millrace.records.training.comparison import Epoch
from millrace.records.training.energy import EnergyReading
from millrace.records.training.events import TrainingEvent
from millrace.run import clock
from millrace.training import foreground
from millrace.training.backgrounds.colocation import compare, wanted_load
from millrace.training.backgrounds.windows import Windows
from millrace.training.energy import Domain
from millrace.training.meter import EnergyMeter, total
from millrace.training.results.colocation_card import card_of, colocation_cards
from millrace.training.results.findings import findings
from millrace.training.settings import Colocation, EnergySettings, TrainingConfig
from tests.training.made_records import alone, attempt, epoch

IDLE_W, FOREGROUND_W, BACKGROUND_W, BOTH_W = 20.0, 10.0, 12.0, 20.0
"""Of the idle machine, and what comes on top."""
EPOCH_S, SHARED_EPOCH_S = 2.0, 2.6
SAMPLES_ALONE, SAMPLES_BESIDE = 100.0, 60.0
"""Of the background, each second."""
CPU_BESIDE = 0.7
"""CPUs that the background keeps busy beside the foreground, which has one."""

SOLO_J = EPOCH_S * (IDLE_W + FOREGROUND_W)
SHARED_J = SHARED_EPOCH_S * (IDLE_W + BOTH_W)
ALONE_J = SHARED_EPOCH_S * SAMPLES_BESIDE * (IDLE_W + BACKGROUND_W) / SAMPLES_ALONE
TRUTH = {
    "time_share": SHARED_J / (1 + CPU_BESIDE),
    "increment": SOLO_J,
    "shapley": (SOLO_J + SHARED_J - ALONE_J) / 2,
}
"""The foreground's joules of a shared epoch, by each rule."""


class Machine:
    """A machine with a meter, a foreground, and one background that can be paused. It stands for all that `Windows` looks at."""

    poll_every_s = 1000.0

    def __init__(self) -> None:
        self.now = 1_000.0
        self.level = 1.0
        self.joules = self.ours_s = self.theirs_s = self.drift_w = 0.0
        self.training = False
        self.scope: Any = "socket"
        self.points = [(self.now, 0.0)]
        self.spans: list[tuple[float, float]] = []
        self.loops = [self]

    @property
    def domains(self) -> list[Domain]:
        return [Domain("cpu_package:0", self.scope, "simulated")]

    def run(self, seconds: float) -> None:
        """Time passes."""
        on = self.level > 0
        power = {(True, False): FOREGROUND_W, (False, True): BACKGROUND_W, (True, True): BOTH_W}.get((self.training, on), 0.0)
        self.joules += seconds * (IDLE_W + power + self.drift_w)
        self.ours_s += seconds * self.training
        if on:
            self.spans.append((self.now, self.now + seconds))
            self.theirs_s += seconds * (CPU_BESIDE if self.training else 1.0)
        samples = seconds * (SAMPLES_BESIDE if self.training else SAMPLES_ALONE) if on else 0.0
        self.now += seconds
        self.points.append((self.now, self.points[-1][1] + samples))

    def read(self) -> dict[str, float | None]:
        return {"cpu_package:0": self.joules}

    def wraps(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        pass

    def wait_until_training(self) -> None:
        pass

    def check(self) -> None:
        pass

    def usage(self) -> SimpleNamespace:
        return SimpleNamespace(cpu_s=self.ours_s)

    def cpu_s(self) -> float:
        return self.theirs_s

    def set_level(self, level: float) -> None:
        self.level = level

    def overlap_s(self, start: float, end: float) -> float:
        return sum(max(0.0, min(end, b) - max(start, a)) for a, b in self.spans)

    def samples_between(self, start: float, end: float) -> float:
        """Every change of the rate is a point."""
        at = [max((total for when, total in self.points if when <= moment + 1e-9), default=0.0) for moment in (start, end)]
        if end - start < EPOCH_S and not self.training:  # a part of the time alone lies between two points
            return (end - start) * SAMPLES_ALONE
        return at[1] - at[0]


def measured(machine: Machine, epochs: int, monkeypatch: pytest.MonkeyPatch, drift_w: float = 0.0) -> AttemptRecord:
    """What a campaign measures of the simulated machine, by the meter, the windows and the time alone of the real one."""
    monkeypatch.setattr(clock, "now", lambda: machine.now)
    monkeypatch.setattr(foreground, "time", SimpleNamespace(**{**vars(time), "sleep": machine.run}))  # not for other threads
    config = TrainingConfig(colocation=Colocation(background_alone_s=5.0))
    meter = EnergyMeter(EnergySettings(), sources=[machine], clock=lambda: machine.now)
    apart = foreground._measure_alone(machine, config, meter)
    start = meter.snapshot()
    machine.training = True
    run = SimpleNamespace(job=SimpleNamespace(resources=SimpleNamespace(threads=1)))
    windows = Windows(run, config, meter, machine, machine)
    windows.begin()
    for number in range(1, epochs + 1):
        machine.drift_w = drift_w * number
        began, length = machine.now, SHARED_EPOCH_S if machine.level else EPOCH_S
        machine.run(length)
        windows.close(TrainingEvent(event="epoch", n=number, t=machine.now, started=began, wall_s=length))
    return attempt(
        epochs=windows.epochs,
        backgrounds=[],
        background_alone=apart,
        energy=meter.between(start, meter.snapshot()),
        comparison=compare(windows.epochs, apart),
    )


def test_every_rule_gives_the_true_joules_of_a_simulated_machine_and_adds_up_to_its_meter(monkeypatch):
    card = card_of(measured(Machine(), 17, monkeypatch))
    assert card.windows[:9] == ["warm_up", "solo", "shared", "shared", "solo", "solo", "shared", "shared", "solo"]
    assert card.slowdown.estimate == pytest.approx(SHARED_EPOCH_S / EPOCH_S)
    assert (card.solo_j.estimate, card.shared_j.estimate) == (pytest.approx(SOLO_J), pytest.approx(SHARED_J))
    assert card.increase_j.estimate == pytest.approx(SHARED_J - SOLO_J)
    assert card.background_alone_j.estimate == pytest.approx(ALONE_J)
    alone_per_s, beside_per_s = card.background_alone_per_s, card.background_beside_per_s
    assert (alone_per_s.estimate, beside_per_s.estimate) == (pytest.approx(SAMPLES_ALONE), pytest.approx(SAMPLES_BESIDE))
    assert (alone_per_s.count, beside_per_s.count) == (5, 8)
    assert {share.rule: share.foreground_j.estimate for share in card.shares} == {
        rule: pytest.approx(joules) for rule, joules in TRUTH.items()
    }
    for share in card.shares:
        assert share.foreground_j.estimate + share.background_j.estimate == pytest.approx(SHARED_J)
        assert share.foreground_j.count == 8
        assert share.foreground_j.low <= share.foreground_j.estimate <= share.foreground_j.high
    assert card.foreground_between_j == (pytest.approx(min(TRUTH.values())), pytest.approx(max(TRUTH.values())))
    assert card.foreground_between_j[0] + card.background_between_j[1] == pytest.approx(SHARED_J)
    assert card.foreground_between_j[1] + card.background_between_j[0] == pytest.approx(SHARED_J)


def test_all_shared_windows_of_the_card_are_what_the_meter_said_of_them(monkeypatch):
    machine = Machine()
    record = measured(machine, 9, monkeypatch)
    (whole,) = record.energy
    assert sum(one.energy_j for one in record.epochs) == pytest.approx(whole.joules)
    shared = [one.energy_j for one in record.epochs if one.load == "shared"]
    card = card_of(record)
    for share in card.shares:
        both = share.foreground_j.estimate + share.background_j.estimate
        assert len(shared) * both == pytest.approx(sum(shared))


def test_a_drift_of_the_machines_power_cancels_out_of_the_difference_in_the_order_abba(monkeypatch):
    drift_w = 0.5
    card = card_of(measured(Machine(), 17, monkeypatch, drift_w))
    mean_drift_w = drift_w * sum(range(2, 18)) / 16
    expected = SHARED_J - SOLO_J + mean_drift_w * (SHARED_EPOCH_S - EPOCH_S)
    assert card.increase_j.estimate == pytest.approx(expected)
    assert card.increase_j.low < expected < card.increase_j.high


def noisy(seed: int, count: int = 17, noise: float = 0.05) -> AttemptRecord:
    """An attempt whose meter is right and whose windows scatter."""
    generator = random.Random(seed)
    true = {"warm_up": 99.0, "solo": SOLO_J, "shared": SHARED_J}
    epochs = [
        epoch(
            load,
            EPOCH_S,
            energy_j=true[load] * generator.gauss(1, noise),
            foreground_cpu_s=1.0,
            background_cpu_s=CPU_BESIDE if load == "shared" else 0.0,
            background_window_samples=SHARED_EPOCH_S * SAMPLES_BESIDE if load == "shared" else 0.0,
        )
        for load in (wanted_load(n, 1) for n in range(1, count + 1))
    ]
    watts = [(IDLE_W + BACKGROUND_W) * generator.gauss(1, noise) for _ in range(5)]
    apart = alone(SAMPLES_ALONE, samples_per_s_parts=[SAMPLES_ALONE] * 5, watts=sum(watts) / 5, watts_parts=watts, window_s=5.0)
    return attempt(epochs=epochs, background_alone=apart, comparison=CALM)


CALM = compare([], None)


@pytest.mark.parametrize("rule", TRUTH)
def test_the_intervals_of_every_rule_hold_the_truth_as_often_as_they_say(rule):
    inside = 0
    for seed in range(300):
        (share,) = [one for one in card_of(noisy(seed)).shares if one.rule == rule]
        inside += share.foreground_j.low <= TRUTH[rule] <= share.foreground_j.high
    assert 0.90 <= inside / 300 <= 1.0


def test_a_wider_scatter_gives_a_wider_interval():
    widths = [
        one.high - one.low for one in (card_of(noisy(1, noise=noise)).shares[2].foreground_j for noise in (0.01, 0.05, 0.2))
    ]
    assert widths == sorted(widths)
    assert widths[2] > 5 * widths[0]


def everything_unknown(card: ColocationCard) -> bool:
    means = (card.solo_j, card.shared_j, card.increase_j, card.background_alone_j)
    bounds = (card.foreground_between_j, card.background_between_j)
    return card.shares == [] and bounds == (None, None) and all((one.estimate, one.low, one.high) == (None,) * 3 for one in means)


def abba(count: int, **more: Any) -> list[Epoch]:
    return [epoch(wanted_load(n, 1), 2.0, **more) for n in range(1, count + 1)]


def record_of(epochs: list[Epoch], apart: BackgroundsAlone | None = None, **more: Any) -> AttemptRecord:
    return attempt(epochs=epochs, comparison=compare(epochs, apart), background_alone=apart, **more)


def test_without_a_meter_there_is_a_slowdown_and_no_joule_and_the_card_says_why():
    nothing = EnergyReading("cpu_package", None, "unavailable", "none", "host", reason="rapl: no RAPL counters here")
    card = card_of(record_of(abba(9), energy=[nothing], energy_j=total([nothing])))
    assert card.slowdown.estimate == 1.0
    assert everything_unknown(card)
    assert card.reason == "no energy was measured: rapl: no RAPL counters here"


def test_without_a_pair_nothing_is_made_up_and_the_card_says_so():
    card = card_of(record_of([epoch("warm_up", 2.0, energy_j=5.0), epoch("shared", 2.0, energy_j=5.0)]))
    assert card.slowdown.estimate is None
    assert everything_unknown(card)
    assert card.reason == "no solo and shared windows next to each other"


def test_a_failed_training_and_one_without_epochs_have_a_card_that_says_so():
    failed = card_of(attempt(ok=False, failure="exit_code"))
    unseen = card_of(attempt(epochs=[], comparison=UNSET))
    assert (failed.reason, unseen.reason) == ("the training failed: exit_code", "no epoch was seen")
    assert everything_unknown(failed)
    assert everything_unknown(unseen)


def test_a_window_of_which_the_meter_knows_nothing_makes_no_pair_and_the_others_count():
    record = noisy(3, noise=0.0)
    epochs = [replace(one, energy_j=None) if n == 2 else one for n, one in enumerate(record.epochs)]
    card = card_of(replace(record, epochs=epochs))
    assert card.shared_j.estimate == pytest.approx(SHARED_J)
    assert card.shared_j.count == 7
    assert card.increase_j.estimate == pytest.approx(SHARED_J - SOLO_J)


def test_a_rule_whose_figures_are_missing_is_null_with_its_reason_and_the_others_are_there():
    record = noisy(4, noise=0.0)
    by = lambda made: {share.rule: share for share in card_of(made).shares}  # noqa: E731
    without = by(replace(record, background_alone=None))
    assert without["shapley"].foreground_j.estimate is None
    assert "alone were not measured" in without["shapley"].foreground_j.reason
    assert without["increment"].foreground_j.estimate == pytest.approx(SOLO_J)
    early = by(replace(record, epochs=[replace(one, background_cpu_s=UNSET) for one in record.epochs]))
    assert early["time_share"].background_j.estimate is None
    silent = by(replace(record, epochs=[replace(one, background_window_samples=None) for one in record.epochs]))
    assert "how many samples" in silent["shapley"].foreground_j.reason
    gpu = EnergyReading("gpu:0", 50.0, "measured", "nvml_counter", "device")
    shared_gpu = by(replace(record, energy=[gpu]))
    assert shared_gpu["time_share"].foreground_j.estimate is None
    assert "GPU" in shared_gpu["time_share"].foreground_j.reason
    once = by(replace(record, background_alone=replace(record.background_alone, watts_parts=None)))
    assert once["shapley"].foreground_j.estimate == pytest.approx(TRUTH["shapley"])
    assert (once["shapley"].foreground_j.low, once["increment"].foreground_j.low) == (None, pytest.approx(SOLO_J))


def test_few_pairs_have_estimates_and_no_interval():
    card = card_of(noisy(5, count=3, noise=0.0))
    assert (card.shared_j.estimate, card.shared_j.low) == (pytest.approx(SHARED_J), None)
    assert card.shared_j.reason == "fewer than 3 values: no interval"


def test_only_runs_beside_backgrounds_have_a_card_and_a_card_is_the_same_after_it_was_read_back():
    made = noisy(6)
    assert len(colocation_cards([made, replace(made, mode="default")])) == 1
    card = card_of(made)
    assert decode(encode(card), ColocationCard, "here") == card


def test_the_findings_say_what_an_epoch_uses_and_between_which_bounds_the_foregrounds_part_lies():
    record = noisy(7, noise=0.0)
    line = next(line for line in findings([record], {"a": ""}) if "the machine uses" in line.lower())
    assert line == (
        "The machine uses 104 J in an epoch beside the backgrounds and 60 J without them "
        "(difference: 95 % interval +44 to +44 J); by 3 rules, 57 to 61.2 J of it are the foreground's."
    )
    assert not [line for line in findings([record_of(abba(9))], {"a": ""}) if "joule" in line or " J " in line]
