"""Energy of a window: what a counter counts, and what was read from it. Joules; unknown is None and never 0."""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import UNSET, UnsetType

from millrace.records.record import Record

EnergyKind = Literal["measured", "attributed", "estimated", "unavailable"]
"""Read from a counter; a share of that by CPU time; computed from a figure that was given; not to be had."""

EnergyScope = Literal["host", "socket", "device", "process_tree"]


class EnergyDomain(Record, frozen=True):
    """What a counter counts, and how it lies to the others, so that nothing is added twice."""

    SCHEMA: ClassVar[str] = "millrace.energy-domain/1"

    name: str
    """`cpu_package:0`, `dram:0`, `gpu:1` …, made by the source."""
    scope: EnergyScope
    method: str
    """The counter that is read, or the model that is computed."""
    kind: EnergyKind = "measured"
    part_of: str | None = None
    """The domain that already includes it."""
    uncertainty: str | None = None
    """In words; None: that of the counter."""
    contains: tuple[str, ...] = ()
    """Domains that are in it and are counted by themselves: it is shown beside a total and not added to it."""


class EnergyReading(Record, frozen=True):
    """One figure of one window, in the record of an attempt. Source: `millrace.training.meter`."""

    SCHEMA: ClassVar[str] = "millrace.energy-reading/1"

    domain: str
    """`EnergyDomain.name`; a share of one has `/foreground`, `/idle` or `/rest` after it."""
    joules: float | None
    """None: unknown, and `reason` says why."""
    kind: EnergyKind
    method: str
    """The counter that was read, or the model that was computed."""
    scope: EnergyScope
    includes: tuple[str, ...] = ("foreground", "background", "others")
    """Whose use is in it."""
    window_s: float = 0.0
    """Between the two readings, by the monotonic clock."""
    samples: int = 0
    """How often the counter was read within the window."""
    coverage: float | None = None
    """The share of the window that the figure is of, 0 to 1; None: unknown."""
    counter_wraps: int = 0
    """How often the counter passed its largest value."""
    idle_baseline_w: float | None = None
    """Watts of the idle machine that were taken off; None: none were."""
    uncertainty: str | None = None
    """In words; None: that of the counter."""
    host_busy_other: float | None = None
    """Not filled in: what others did stands in `host` of the attempt."""
    part_of: str | None = None
    """The domain that already includes it."""
    reason: str | None = None
    """Why the figure is unknown."""
    contains: tuple[str, ...] | UnsetType = UNSET
    """Domains that are in it and are counted by themselves; left out where there is none."""
    missing_from: EnergyKind | UnsetType = UNSET
    """The kind whose total is unknown because this figure is; left out where the figure is known, or there is no such counter."""
