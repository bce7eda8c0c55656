"""Foreground against backgrounds: which window is which, how big the slowdown is and how surely, and how the load is adjusted."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from msgspec import UNSET, structs

from millrace.records.training.backgrounds import BackgroundsAlone
from millrace.records.training.comparison import (
    AdjustedLoad,
    BackgroundRate,
    Comparison,
    Contamination,
    Difference,
    Epoch,
    EpochEnergy,
    Ratio,
    SoloShared,
    Throughput,
    WindowLoad,
)
from millrace.records.training.mean import Mean

Figure = Callable[[Epoch], float | None]
"""What is compared, of an epoch; None: this epoch does not have it."""

BOOTSTRAPS = 2_000
LEAST_FOR_AN_INTERVAL = 3
"""Fewer pairs or blocks say nothing about their own spread."""
STUDENT_975 = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120)
"""Student's t at 97.5 % for 1, 2, … degrees of freedom; the last stands for more (2.12 is at most 8 % too wide)."""
CONTAMINATED = 1.2
"""A solo epoch whose wall time is this many times its CPU time on one thread was slowed down by other processes."""


def wanted_load(epoch: int, epochs_per_window: int) -> WindowLoad:
    """What epoch `epoch` (from 1) is for: the first warms up, then windows in the order solo, shared, shared, solo.

    In that order (ABBA) a drift of the machine falls on both alike.
    """
    if epoch <= 1:
        return "warm_up"
    return ("solo", "shared", "shared", "solo")[(epoch - 2) // epochs_per_window % 4]  # type: ignore[return-value]


def load_of(overlap: float, wanted: WindowLoad) -> WindowLoad:
    """What an epoch really was, by the share of it in which the backgrounds trained."""
    if wanted == "warm_up":
        return "warm_up"
    return "shared" if overlap >= 0.9 else "solo" if overlap <= 0.1 else "mixed"


def windows_of(epochs: Sequence[Epoch], has: Callable[[Epoch], bool]) -> list[tuple[str, list[Epoch]]]:
    """The solo and the shared stretches in their order, of the epochs that have what is compared."""
    windows: list[tuple[str, list[Epoch]]] = []
    for epoch in epochs:
        if epoch.load not in {"solo", "shared"} or not has(epoch):
            continue
        if windows and windows[-1][0] == epoch.load:
            windows[-1][1].append(epoch)
        else:
            windows.append((epoch.load, [epoch]))
    return windows


def wall_s(epoch: Epoch) -> float:
    """How long an epoch took."""
    return epoch.wall_s


def foreground_cpu_s(epoch: Epoch) -> float:
    """The CPU time of an epoch, as the kernel counts it."""
    return epoch.foreground_cpu_s


def paired_windows(epochs: Sequence[Epoch], has: Callable[[Epoch], bool]) -> list[tuple[list[Epoch], list[Epoch]]]:
    """Neighbouring windows of different kind, (solo, shared), none used twice."""
    windows = windows_of(epochs, has)
    # ABBA merges the two middle windows: split them again so that each half has a neighbour of its own.
    parts: list[tuple[str, list[Epoch]]] = []
    for index, (load, inside) in enumerate(windows):
        inner = 0 < index < len(windows) - 1 and len(inside) >= 2
        halves = [inside[: len(inside) // 2], inside[len(inside) // 2 :]] if inner else [inside]
        parts += [(load, half) for half in halves]
    found: list[tuple[list[Epoch], list[Epoch]]] = []
    index = 0
    while index + 1 < len(parts):
        (load, inside), (other, next_inside) = parts[index], parts[index + 1]
        if load == other:
            index += 1
            continue
        found.append((inside, next_inside) if load == "solo" else (next_inside, inside))
        index += 2
    return found


def pairs(epochs: Sequence[Epoch], figure: Figure = wall_s) -> list[float]:
    """Shared / solo of neighbouring windows: the means of two windows of different kind side by side, none used twice."""
    found = [
        (_mean_of(solo, figure), _mean_of(shared, figure))
        for solo, shared in paired_windows(epochs, lambda epoch: figure(epoch) is not None)
    ]
    # The clock of CPU time ticks every 10 ms: a short epoch may cost none.
    return [shared / solo for solo, shared in found if solo > 0 and shared > 0]


def _mean_of(epochs: Sequence[Epoch], figure: Figure) -> float:
    return statistics.fmean(value for epoch in epochs if (value := figure(epoch)) is not None)


def contrasts(epochs: Sequence[Epoch], figure: Figure) -> list[float]:
    """Shared - solo for each shared stretch and as many solo epochs around it, none used twice: a steady trend cancels out."""
    windows = windows_of(epochs, lambda epoch: figure(epoch) is not None)
    found: list[float] = []
    free = len(windows[0][1]) if windows else 0
    for (_, before), (load, values), (_, after) in zip(windows, windows[1:], windows[2:], strict=False):
        if load != "shared":
            continue
        reach = max(1, len(values) // 2)
        if min(free, len(after)) >= reach:
            around = _mean_of(before[-reach:], figure), _mean_of(after[:reach], figure)
            found.append(_mean_of(values, figure) - statistics.fmean(around))
            free = len(after) - reach
        else:
            free = len(after)
    return found


def interval(ratios: Sequence[float], seed: int = 0, level: float = 0.95) -> Ratio:
    """The typical ratio (geometric mean) with a bootstrap interval; with fewer than 3 pairs there is no interval to be had."""
    found = Ratio(estimate=None, low=None, high=None, pairs=len(ratios))
    if not ratios:
        return structs.replace(found, reason="no solo and shared windows next to each other")
    logs = [math.log(ratio) for ratio in ratios]
    estimate = math.exp(statistics.fmean(logs))
    if len(logs) < LEAST_FOR_AN_INTERVAL:
        return structs.replace(found, estimate=estimate, reason="fewer than 3 pairs: no interval")
    generator = random.Random(seed)
    means = sorted(statistics.fmean(generator.choices(logs, k=len(logs))) for _ in range(BOOTSTRAPS))
    edge = int((1 - level) / 2 * BOOTSTRAPS)
    low, high = math.exp(means[edge]), math.exp(means[-edge - 1])
    return Ratio(estimate=estimate, low=low, high=high, pairs=len(ratios), ratios=list(ratios))


def half_width(values: Sequence[float]) -> float:
    """Of Student's 95 % interval of the mean of two or more values."""
    quantile = STUDENT_975[min(len(values) - 2, len(STUDENT_975) - 1)]
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


def mean_of(values: Sequence[float], why_not: str = "") -> Mean:
    """The mean with its interval; of no values it is unknown, for `why_not`."""
    if not values:
        return Mean(estimate=None, low=None, high=None, count=0, reason=why_not or UNSET)
    mean = statistics.fmean(values)
    if len(values) < LEAST_FOR_AN_INTERVAL:
        return Mean(estimate=mean, low=None, high=None, count=len(values), reason="fewer than 3 values: no interval")
    reach = half_width(values)
    return Mean(estimate=mean, low=mean - reach, high=mean + reach, count=len(values))


def difference(values: Sequence[float]) -> Difference:
    """The mean difference with Student's 95 % interval; with fewer than 3 blocks there is no interval to be had.

    Not a bootstrap: a training has few blocks, and resampling 3 values says no more than the smallest and the largest of them.
    """
    found = Difference(estimate=None, low=None, high=None, blocks=len(values))
    if not values:
        return structs.replace(found, reason="no shared windows with solo ones on both sides")
    mean = statistics.fmean(values)
    if len(values) < LEAST_FOR_AN_INTERVAL:
        return structs.replace(found, estimate=mean, reason="fewer than 3 blocks: no interval")
    reach = half_width(values)
    return Difference(estimate=mean, low=mean - reach, high=mean + reach, blocks=len(values), differences=list(values))


def metric_differences(epochs: Sequence[Epoch]) -> dict[str, Difference]:
    """Whether the backgrounds change what is learned: by metric (and `loss`), shared minus solo windows of the same training.

    Covers: a steady improvement over a block, which cancels out. Does not cover: the bend of a learning curve, which is large in
    the first epochs; what a metric loses for good under load (both kinds of windows train one model).
    """
    names = sorted({name for epoch in epochs for name in epoch.metrics})
    found = {name: contrasts(epochs, partial(_metric, name=name)) for name in names}
    found["loss"] = contrasts(epochs, lambda epoch: epoch.loss)
    return {name: difference(values) for name, values in found.items()}


def _metric(epoch: Epoch, name: str) -> float | None:
    return epoch.metrics.get(name)


def compare(epochs: Sequence[Epoch], alone: BackgroundsAlone | None, seed: int = 0) -> Comparison:
    """Everything about foreground against background that one run says. What cannot be known is None.

    Args:
        epochs: the foreground's epochs with their load and figures.
        alone: the backgrounds measured by themselves; None: they were not.
        seed: of the bootstrap.
    """

    def mean(load: WindowLoad, figure: Figure) -> float | None:
        values = [value for epoch in epochs if epoch.load == load and (value := figure(epoch)) is not None]
        return statistics.fmean(values) if values else None

    slowdown = interval(pairs(epochs), seed)
    solo_s, shared_s = mean("solo", wall_s), mean("shared", wall_s)
    rate, watts = (None, None) if alone is None else (alone.samples_per_s, alone.watts)
    shared_samples = mean("shared", lambda epoch: epoch.background_samples)
    beside = shared_samples / shared_s if shared_samples is not None and shared_s else None
    share = beside / rate if beside is not None and rate else None
    kept = 1 / slowdown.estimate if slowdown.estimate else None
    sequential_s = solo_s + shared_samples / rate if solo_s is not None and shared_samples is not None and rate else None
    solo_j, shared_j = mean("solo", lambda epoch: epoch.energy_j), mean("shared", lambda epoch: epoch.energy_j)
    background_j = None if watts is None or shared_samples is None or not rate else watts * shared_samples / rate
    return Comparison(
        slowdown=slowdown,
        cpu_slowdown=interval(pairs(epochs, foreground_cpu_s), seed),
        epoch_s=SoloShared(solo=solo_s, shared=shared_s),
        epoch_cpu_s=SoloShared(solo=mean("solo", foreground_cpu_s), shared=mean("shared", foreground_cpu_s)),
        epoch_energy_j=EpochEnergy(
            solo=solo_j,
            shared=shared_j,
            one_after_the_other=None if solo_j is None or background_j is None else solo_j + background_j,
        ),
        epoch_wall_s_one_after_the_other=sequential_s,
        throughput=_with_interval(
            Throughput(
                foreground=kept,
                background=share,
                sum=kept + share if kept is not None and share is not None else None,
                mean_slowdown=(1 / kept + 1 / share) / 2 if kept and share else None,
            ),
            epochs,
            alone,
            seed,
        ),
        background_samples_per_s=BackgroundRate(alone=rate, beside_the_foreground=beside),
        metric_difference=metric_differences(epochs),
        contaminated=_contaminated(epochs),
    )


def _with_interval(found: Throughput, epochs: Sequence[Epoch], alone: BackgroundsAlone | None, seed: int) -> Throughput:
    """How surely the sum is known: a bootstrap over the pairs of windows, the shared epochs and the parts of the time alone.

    Without the parts (the run was not measured so) `found` stays as it is; with fewer than 3 of any of them there is no interval,
    and a reason.
    """
    parts = [rate for rate in (alone.samples_per_s_parts if alone is not None else None) or [] if rate]
    if alone is None or not parts:
        return found
    ratios = pairs(epochs)
    rates = [
        epoch.background_samples / epoch.wall_s
        for epoch in epochs
        if epoch.load == "shared" and epoch.background_samples is not None and epoch.wall_s > 0
    ]
    found = structs.replace(found, low=None, high=None, alone_s=alone.window_s)
    if min(len(ratios), len(rates), len(parts)) < LEAST_FOR_AN_INTERVAL:
        why = "fewer than 3 pairs, shared epochs or parts of the time alone: no interval"
        return structs.replace(found, reason=why)
    generator = random.Random(seed)
    sums = []
    for _ in range(BOOTSTRAPS):
        slowdown = math.exp(statistics.fmean(math.log(ratio) for ratio in generator.choices(ratios, k=len(ratios))))
        beside = statistics.fmean(generator.choices(rates, k=len(rates)))
        sums.append(1 / slowdown + beside / statistics.fmean(generator.choices(parts, k=len(parts))))
    sums.sort()
    edge = int(0.025 * BOOTSTRAPS)
    return structs.replace(found, low=sums[edge], high=sums[-edge - 1])


def adjusted(epochs: Sequence[Epoch], limit: float) -> AdjustedLoad:
    """What came of a load that was steered: how much of it was on, and how often the limit on the slowdown was passed.

    An epoch's slowdown is its time over the mean of the solo epochs before it. The load is only changed between epochs, so an
    epoch that is too slow is over when it is noticed: the limit is aimed at and not kept.
    """
    solo: list[float] = []
    slowdowns: list[float] = []
    levels: list[float] = []
    for epoch in epochs:
        if epoch.load == "solo":
            solo.append(epoch.wall_s)
        elif epoch.load != "warm_up" and solo and epoch.level is not None:
            slowdowns.append(epoch.wall_s / statistics.fmean(solo))
            levels.append(epoch.level)
    return AdjustedLoad(
        limit=limit,
        epochs=len(slowdowns),
        over=sum(slowdown > limit for slowdown in slowdowns),
        worst=max(slowdowns, default=None),
        typical=statistics.median(slowdowns) if slowdowns else None,
        mean_level=statistics.fmean(levels) if levels else None,
    )


def _contaminated(epochs: Sequence[Epoch]) -> Contamination:
    """Whether others slowed down the solo baseline: wall time over CPU time of epochs on a single thread."""
    ratios = [epoch.wall_s / epoch.cpu_s for epoch in epochs if epoch.load == "solo" and epoch.cpu_s and epoch.threads == 1]
    ratio = statistics.median(ratios) if ratios else None
    return Contamination(solo_wall_over_cpu=ratio, baseline_contaminated=None if ratio is None else ratio > CONTAMINATED)


@dataclass
class LoadController:
    """Brings the load towards the highest level at which the foreground slows down by no more than `limit`.

    Additive increase, multiplicative decrease, a dead band, and at most one change in a dwell.
    """

    limit: float
    dwell_epochs: int
    step: float
    level: float = 1.0
    band: float = 0.05
    seen: int = 0

    def after_epoch(self, slowdown: float) -> tuple[float, str] | None:
        """Take in one epoch's slowdown at the present level; (new level, why) when it is to be changed."""
        self.seen += 1
        if self.seen < self.dwell_epochs:
            return None
        excess = slowdown - 1.0
        allowed = self.limit - 1.0
        wanted = self.level
        if excess > allowed * (1 + self.band):
            wanted = self.level / 2 if self.level > self.step else 0.0
        elif excess < allowed * (1 - 4 * self.band):
            wanted = min(1.0, self.level + self.step)
        if wanted == self.level:
            return None
        why = f"slowdown {slowdown:.2f} against {self.limit:.2f} allowed"
        self.level, self.seen = wanted, 0
        return wanted, why
