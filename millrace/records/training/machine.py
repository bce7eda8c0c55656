"""The machine that a training was measured on.

`Setting` is a file of its own; the others stand in it and in the records of attempts.
"""

from __future__ import annotations

from typing import ClassVar

from millrace.records.record import Record
from millrace.records.training.energy import EnergyDomain


class HostLoad(Record, frozen=True, kw_only=True):
    """What others did on the machine between two moments."""

    SCHEMA: ClassVar[str] = "millrace.host-load/1"

    window_s: float
    """Between the moments, by the monotonic clock."""
    host_busy_cpus: float | None
    """CPUs that everybody together kept busy, from /proc/stat; None: there is no such file."""
    others_busy_cpus: float | None
    """The same without the campaign's own processes; None: either is unknown."""
    psi_cpu_some: float | None
    """The share of the time in which some process waited for a CPU, from /proc/pressure/cpu; None: there is no such file."""


class ForegroundLoad(HostLoad, frozen=True, kw_only=True):
    """What others did on the machine while a foreground trained."""

    SCHEMA: ClassVar[str] = "millrace.foreground-load/1"

    run_delay_s: float | None
    """How long the foreground's threads were ready to run and had no CPU, from /proc/PID/task/*/schedstat; None: unknown."""


class CoolingDown(Record, frozen=True, kw_only=True):
    """How long a run waited for a calm machine, and what was reached."""

    SCHEMA: ClassVar[str] = "millrace.cooling-down/1"

    waited_s: float
    reached: bool
    cpu_busy: float | None
    """The share of all CPUs that was busy at last; None: unknown."""
    temperature_c: float | None
    """Of the hottest sensor at last; None: not asked for, or there is none."""


class GovernorState(Record, frozen=True, kw_only=True):
    """The governors of the machine's CPUs, from /sys."""

    SCHEMA: ClassVar[str] = "millrace.governor/1"

    before: list[str] | None
    """All that were found, sorted; None: this host shows none."""
    asked: str | None
    """What the config asks for; None: it is left as it is."""
    set: bool
    reason: str | None
    """Why it could not be set."""


class MachineFacts(Record, frozen=True, kw_only=True):
    """What the machine is."""

    SCHEMA: ClassVar[str] = "millrace.machine/1"

    host: str
    system: str
    cpu: str | None
    """The model, from /proc/cpuinfo."""
    cpus: int | None
    cpus_usable: int | None
    """Those that this process may use."""
    memory_bytes: int | None
    """MemTotal of /proc/meminfo."""
    user_is_root: bool


class IdleBaseline(Record, frozen=True, kw_only=True):
    """What the machine takes with nothing of the campaign running."""

    SCHEMA: ClassVar[str] = "millrace.idle-baseline/1"

    seconds: float
    """How long was measured; 0: it was not."""
    watts: dict[str, float]
    """By energy domain; without those that could not be read."""
    host: HostLoad | None
    """What others did meanwhile."""


class Setting(Record, frozen=True, kw_only=True):
    """What all runs of a campaign share: `training/setting.json`, written at the start of each session."""

    SCHEMA: ClassVar[str] = "millrace.training-setting/1"

    machine: MachineFacts
    versions: dict[str, str | None]
    """Of Python and the packages that shape a result; None: not installed."""
    governor: GovernorState
    energy_sources: list[EnergyDomain]
    energy_unavailable: dict[str, str]
    """Why, by source."""
    idle: IdleBaseline
    idle_w: dict[str, float]
    """The same as `idle.watts`."""
    swept_pids: list[int]
    """Processes of killed runs that were ended at the start."""
    sessions: int
    """How often the campaign was started."""
