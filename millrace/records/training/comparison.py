"""A foreground's epochs with and without the load beside it, compared. What cannot be known is None."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from millrace.records.training.events import Number
from millrace.records.training.machine import HostLoad

WindowLoad = Literal["warm_up", "solo", "shared", "mixed"]
"""What ran beside an epoch: nothing is said of the first; nothing; the backgrounds for 90 % of it or more; for a part of it."""


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """One epoch of a foreground as a measuring window. Source: its event, and our own counters (`Windows`)."""

    n: int
    load: WindowLoad
    overlap: float
    """The share of the epoch in which the backgrounds trained, their mean, 0 to 1."""
    level: float | None
    """How much of the load was on at its end, 0 to 1; None: there are no backgrounds."""
    started: Number
    """In seconds since 1970."""
    window_s: float
    """From our noticing the end of the epoch before to our noticing its own."""
    wall_s: Number
    """As its program measured it, without the evaluation."""
    cpu_s: Number | None
    """The same, CPU time."""
    threads: int | None
    """CPU threads of each process by the config; None: as many as there are CPUs."""
    foreground_cpu_s: float
    """CPU time of the foreground's processes within the window, as the kernel counts it."""
    samples: Number | None
    loss: Number | None
    metrics: dict[str, Number | None]
    """None: the program printed no finite number."""
    background_samples: float | None
    """Samples that the backgrounds trained on during the epoch; None: one of them does not say, or there is none."""
    energy_j: float | None
    """Of the machine's measured domains within the window; None: unknown."""
    background_cpu_s: float | UnsetType = UNSET
    """CPU time of all backgrounds within the window; left out by earlier versions."""
    background_window_samples: float | UnsetType | None = UNSET
    """Samples that the backgrounds trained on within the window; None: one of them does not say, or there is none."""
    host: HostLoad


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """A typical ratio (geometric mean) over pairs of neighbouring windows, with a bootstrap interval."""

    estimate: float | None
    low: float | None
    high: float | None
    """95 %; None with fewer than 3 pairs."""
    pairs: int
    reason: str | UnsetType = UNSET
    """Why there is no interval."""
    ratios: list[float] | UnsetType = UNSET
    """Of each pair, in order."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A mean difference over blocks of windows, with Student's interval."""

    estimate: float | None
    low: float | None
    high: float | None
    """95 %; None with fewer than 3 blocks."""
    blocks: int
    reason: str | UnsetType = UNSET
    """Why there is no interval."""
    differences: list[float] | UnsetType = UNSET
    """Of each block, in order."""


class SoloShared(msgspec.Struct, frozen=True, kw_only=True):
    """Means over the epochs of each kind."""

    solo: float | None
    shared: float | None


class EpochEnergy(SoloShared, frozen=True, kw_only=True):
    """The same in joules."""

    one_after_the_other: float | None
    """A solo epoch, then the background work of a shared one."""


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """What both get done together, each as a share of what it gets done alone."""

    foreground: float | None
    background: float | None
    sum: float | None
    mean_slowdown: float | None
    """Mean of the two shares' inverses."""
    low: float | UnsetType | None = UNSET
    high: float | UnsetType | None = UNSET
    """95 % interval of the sum; left out where the backgrounds were not measured alone in parts."""
    alone_s: float | UnsetType | None = UNSET
    """How long they were measured alone."""
    reason: str | UnsetType = UNSET
    """Why there is no interval."""


class BackgroundRate(msgspec.Struct, frozen=True, kw_only=True):
    """Samples per second of all backgrounds together."""

    alone: float | None
    beside_the_foreground: float | None


class Contamination(msgspec.Struct, frozen=True, kw_only=True):
    """Whether others slowed down the solo epochs."""

    solo_wall_over_cpu: float | None
    """Median of wall time over CPU time, of epochs on one thread; None: there is none."""
    baseline_contaminated: bool | None


class AdjustedLoad(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a load that was steered towards a limit on the slowdown."""

    limit: float
    epochs: int
    """Epochs that could be judged."""
    over: int
    """Those that were slower than the limit."""
    worst: float | None
    typical: float | None
    """The largest slowdown and the median."""
    mean_level: float | None
    """How much of the load was on, 0 to 1."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about foreground against background that one run says. Source: `millrace.training.backgrounds.colocation`."""

    slowdown: Ratio
    """Wall time of a shared epoch over that of a solo one."""
    cpu_slowdown: Ratio
    """The same, CPU time."""
    epoch_s: SoloShared
    epoch_cpu_s: SoloShared
    epoch_energy_j: EpochEnergy
    epoch_wall_s_one_after_the_other: float | None
    """A solo epoch, then the background work of a shared one, in seconds."""
    throughput: Throughput
    background_samples_per_s: BackgroundRate
    metric_difference: dict[str, Difference] = {}
    """By metric, and `loss`: shared minus solo."""
    contaminated: Contamination
    adjusted: AdjustedLoad | UnsetType = UNSET
    """Where the load was steered."""
