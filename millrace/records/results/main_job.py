"""`summary.json` of the main job: its stages' funnel, what was measured, what the data is, and what it took."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from millrace.records.llm import LedgerRow
from millrace.records.record import Record
from millrace.records.results.compare import Machine
from millrace.records.results.improve import Answer
from millrace.records.summaries import JudgedAgain, JudgesAgreement, RateSummary, RunSeconds


class StageFunnel(msgspec.Struct, frozen=True, kw_only=True):
    """What went into a stage and what came out. Source: its own summary. `came_in == went_out + sum(dropped.values())`."""

    came_in: int = msgspec.field(name="in")
    went_out: int = msgspec.field(name="out")
    dropped: dict[str, int]
    """Reason → how many."""
    seconds: float | UnsetType = UNSET
    """Wall time."""


class DatasetMade(msgspec.Struct, frozen=True, kw_only=True):
    """The dataset, and where it is. Source: the question stage."""

    rows: int
    splits: dict[str, int]
    images: dict[str, int]
    """Split → different images."""
    path: str


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What `improve` found, see `ImproveSummary`."""

    verdict: Answer
    targeting: Answer
    because: tuple[str, ...]
    plan: str


class MainJobSummary(Record, frozen=True, kw_only=True):
    """`summary.json` of `full`. Source: the stages' summaries, the ledger of paid calls, the machine."""

    SCHEMA: ClassVar[str] = "millrace.summary/1"

    schema: Literal["millrace.summary/1"] = "millrace.summary/1"
    status: str
    """`finished` or `short`."""
    stages: dict[str, StageFunnel]
    outcomes: dict[str, int]
    """Outcome → claims."""
    failure_rates: dict[str, RateSummary]
    """By claim."""
    factors: dict[str, RateSummary]
    images: int
    dataset: DatasetMade
    time: RunSeconds
    judges: JudgesAgreement | UnsetType = UNSET
    """Where several voted."""
    judged_again: JudgedAgain | UnsetType = UNSET
    """Where the model's answers are an earlier run's."""
    improve: Proof | UnsetType = UNSET
    """Where it was switched on."""
    paid: tuple[LedgerRow, ...]
    versions: dict[str, str | None]
    """Package → version; None: not installed."""
    machine: Machine
