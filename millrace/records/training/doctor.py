"""What a host can measure and contain: what `python -m flows.training doctor --json` prints."""

from __future__ import annotations

from typing import ClassVar

import msgspec
from msgspec import UNSET, UnsetType

from millrace.records.record import Record
from millrace.records.training.machine import MachineFacts


class Means(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a way of containment can be used here."""

    available: bool
    reason: str | None
    """Why not."""


class SourceMeans(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an energy source can be read here."""

    available: bool
    reason: str | UnsetType = UNSET
    """Why not."""
    domains: list[str] | UnsetType = UNSET
    """What it counts, where it can be read."""
    used: bool
    """Whether it can be read and stands under `energy.providers`."""


class HostMeans(Record, frozen=True, kw_only=True):
    """Everything that can be known. Source: trying each of them, which changes nothing."""

    SCHEMA: ClassVar[str] = "millrace.host-means/1"

    machine: MachineFacts
    containment: dict[str, Means]
    """By mode of `millrace.processes.containment`, and `cgroup`."""
    containment_used: str
    energy: dict[str, SourceMeans]
    """By source."""
    cpu_seconds: bool
    """Whether /proc/stat shows how busy the host is."""
    pressure: bool
    """Whether the kernel says how long processes waited for a CPU (PSI)."""
    temperature_c: float | None
    """Of the hottest sensor; None: there is none."""
    governor: list[str] | None
    """The CPUs' governors; None: this host shows none."""
    free_memory_bytes: int | None
    mps: bool
    """Whether NVIDIA's MPS runs."""
    cgroup_limits_memory: bool
    """Whether a cgroup made here can limit memory."""
