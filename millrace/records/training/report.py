"""What is said of a campaign as a whole: `report.json` with everything that `report.html` shows, and the stage's summary."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from millrace.records.record import Record
from millrace.records.summaries import RunSpent, StageSummary
from millrace.records.training.backgrounds import BackgroundReport, ContainmentInForce
from millrace.records.training.colocation_card import ColocationCard
from millrace.records.training.comparison import Comparison, Epoch
from millrace.records.training.energy import EnergyKind, EnergyReading
from millrace.records.training.events import Number, Value
from millrace.records.training.machine import ForegroundLoad, Setting


class TrainingSummary(StageSummary, frozen=True, kw_only=True):
    """`training/summary.json`. Source: the last attempt at each run. `runs == ok + failed` when all are done."""

    SCHEMA: ClassVar[str] = "millrace.training_summary/1"

    runs: int
    """Those of the plan."""
    ok: int
    failed: int
    attempts: int
    """Of all runs in the folder, failed ones too."""
    failures: dict[str, int]
    """Class of failure → runs."""
    notes: list[str]
    """What the plan remarks: sets that ran out, settings without effect."""
    colocation: list[ColocationCard] = []
    """A card for each run beside backgrounds."""
    seconds: float | UnsetType = UNSET
    """Wall time of the attempt that did the stage. Source: the run's timeline, when the stage is done."""
    work_seconds: float | UnsetType = UNSET
    """The part of it in which a training ran."""

    @property
    def is_short(self) -> bool:
        """Some failed trainings are a run short of its target."""
        return bool(self.failed)


class TrainingRun(Record, frozen=True, kw_only=True):
    """`summary.json` of the flow: the stage's summary, with the run's time."""

    SCHEMA: ClassVar[str] = "millrace.training-run/1"

    status: Literal["finished", "short"]
    runs: int
    ok: int
    failed: int
    attempts: int
    failures: dict[str, int]
    notes: list[str]
    seconds: RunSpent
    work_seconds: float
    """The part of the stage's time in which a training ran."""
    colocation: list[ColocationCard] = []
    """A card for each run beside backgrounds."""


class Nothing(msgspec.Struct, frozen=True):
    """Written as `{}`: what an attempt whose program could not be started does not have."""

    def __bool__(self) -> bool:
        return False


class ReportedRun(msgspec.Struct, frozen=True, kw_only=True):
    """The last attempt at a run, as the report shows it; numbers in the title have 4 digits."""

    id: str
    label: str
    """`Run 2`; empty when there is only one."""
    title: str
    workload: str
    mode: str
    ok: bool
    attempt: int
    failure: str | None
    hyperparameters: dict[str, str]
    """As they stood on the command line, by name."""
    metrics: dict[str, float | None]
    main_metric: str | None
    """The metric that the plots show."""
    duration_s: float | None
    cpu_s: float | None
    peak_bytes: int | None
    epochs: list[Epoch]
    backgrounds: list[BackgroundReport]
    host: ForegroundLoad | Nothing
    containment: ContainmentInForce | Nothing
    stop_backgrounds_s: float | None


class ReportedComparison(Comparison, frozen=True, kw_only=True):
    """A run's comparison; `metric_difference` has the main metric and the loss only."""

    title: str
    overlap: float | None
    """The backgrounds' mean share of the foreground's time, 0 to 1."""


class ReportedFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A failed attempt."""

    title: str
    attempt: int
    failure: str | None
    failure_detail: str
    duration_s: float | None
    energy_j: dict[EnergyKind, float | None] | None
    id: str


class GroupedRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a run cost and what came of it."""

    title: str
    hyperparameters: dict[str, Value]
    mutated: list[str]
    cost: Number | None
    quality: float | None
    """The group's metric."""
    front: bool | UnsetType = UNSET
    """Whether no other run is both cheaper and better; left out where one of the two is unknown."""


class RunGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The good runs of one workload, alone or beside backgrounds."""

    name: str
    metric: str | None
    cost: str
    """In words, with the unit."""
    cost_kind: Literal["measured", "cpu_time"]
    rows: list[GroupedRun]


class ReportedEnergy(EnergyReading, frozen=True, kw_only=True):
    """A reading with the run that it is of."""

    SCHEMA: ClassVar[str] = "millrace.reported-energy/1"

    run: str


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over all runs; CPU time and duration are those of all attempts, None: not known of any."""

    runs: int
    ok: int
    attempts: int
    cpu_s: float | None
    duration_s: float | None


class TrainingReport(Record, frozen=True, kw_only=True):
    """`report.json` beside the page. Source: the attempts and the setting. For programs of yours; Millrace does not read it."""

    SCHEMA: ClassVar[str] = "millrace.training-report/1"

    title: str
    description: str
    setting: Setting
    notes: list[str]
    runs: list[ReportedRun]
    comparisons: list[ReportedComparison]
    failures: list[ReportedFailure]
    groups: list[RunGroup]
    energy: list[ReportedEnergy]
    findings: list[str]
    """In sentences."""
    totals: Totals
    colocation: list[ColocationCard] = []
    """A card for each run beside backgrounds."""
