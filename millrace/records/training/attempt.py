"""`training/RUN/attempt-N.json`: everything known of one attempt at one run, failed ones too."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from millrace.records.record import Record
from millrace.records.training.backgrounds import BackgroundReport, BackgroundsAlone, ContainmentInForce, LoadChange
from millrace.records.training.comparison import Comparison, Epoch
from millrace.records.training.energy import EnergyKind, EnergyReading
from millrace.records.training.events import Value
from millrace.records.training.machine import CoolingDown, ForegroundLoad

T = TypeVar("T")


class ClockSteps(msgspec.Struct, frozen=True, kw_only=True):
    """By how much a wall clock was set meanwhile, in seconds."""

    machine_s: float
    """This machine's."""
    program_s: float
    """The foreground's own, where it differs."""


class AttemptRecord(Record, frozen=True, kw_only=True):
    """One attempt. What follows `written_at` is left out where the program could not be started.

    Source: the plan (up to `mutated`), the judgement (up to `failure_detail`), then our own counters and what the program said.
    """

    SCHEMA: ClassVar[str] = "millrace.training/1"

    schema: Literal["millrace.training/1"] = "millrace.training/1"
    id: str
    """Of the run."""
    attempt: int
    """From 1."""
    experiment: str
    """Its name."""
    title: str
    mode: str
    """default, mutation or parallel."""
    workload: str
    processes: int | None = None
    device: str | None = None
    """What the program was really given; None: its command has no place for it."""
    original: str | UnsetType = UNSET
    """The repository/model of the original project that it stands for."""
    hyperparameters: dict[str, Value]
    """Those that were passed."""
    hyperparameters_spelled: dict[str, str]
    """As they stood on the command line."""
    mutated: list[str]
    """The names of those that were drawn."""
    ok: bool
    failure: str | None
    """The class of the failure; None: it succeeded."""
    failure_detail: str
    written_at: str
    """UTC, ISO 8601."""
    began: float | UnsetType = UNSET
    ended: float | UnsetType = UNSET
    """In seconds since 1970."""
    duration_s: float | UnsetType = UNSET
    ready_after_s: float | UnsetType | None = UNSET
    """From the start to the program's saying that it trains; None: it never said so."""
    returncode: int | UnsetType = UNSET
    """-N: killed by signal N."""
    hyperparameters_echoed: dict[str, Any] | UnsetType | None = UNSET
    """What the program said it uses (any JSON, of a foreign one); None: it says nothing."""
    metrics: dict[str, float | None] | UnsetType = UNSET
    """The last value of each; None: it was not a finite number."""
    epochs: list[Epoch] | UnsetType = UNSET
    cpu_s: float | UnsetType | None = UNSET
    """CPU time of the whole process tree."""
    peak_bytes: int | UnsetType | None = UNSET
    """The largest resident size of one process, or of the tree where a cgroup counts it."""
    log_bytes: int | UnsetType | None = UNSET
    log_bytes_lost: int | UnsetType | None = UNSET
    """Output that could not be written, because the disk was full."""
    energy: list[EnergyReading] | UnsetType = UNSET
    energy_j: dict[EnergyKind, float | None] | UnsetType = UNSET
    """The readings' sums by kind, each domain once."""
    host: ForegroundLoad | UnsetType = UNSET
    """What others did on the machine meanwhile."""
    containment: ContainmentInForce | UnsetType = UNSET
    leftover: list[int] | UnsetType = UNSET
    """Pids that could not be ended."""
    load_changes: list[LoadChange] | UnsetType = UNSET
    background_alone: BackgroundsAlone | UnsetType | None = UNSET
    """None: there are no backgrounds, or they were not measured by themselves."""
    backgrounds: list[BackgroundReport] | UnsetType = UNSET
    stop_backgrounds_s: float | UnsetType | None = UNSET
    """How long stopping all of them took; None: there are none."""
    clock_steps: ClockSteps | UnsetType = UNSET
    """Where a clock was set."""
    comparison: Comparison | UnsetType = UNSET
    """Where there were backgrounds, and an epoch was seen."""
    cool_down: CoolingDown | None = None
    """What was waited for before the run; None: it was the first of its session."""
    final: bool = False
    """Whether no further attempt follows it."""
    resumed: bool = False
    """Whether it went on from a checkpoint."""


def known(value: T | UnsetType) -> T | None:
    """A field that may be left out: None where it is."""
    return None if isinstance(value, UnsetType) else value
