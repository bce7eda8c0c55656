"""What is counted of a synthesis run: a shard's tally, the statistics, the summary."""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import UNSET, UnsetType

from millrace.records.llm import LedgerRow
from millrace.records.record import Record
from millrace.records.summaries import StageSummary
from millrace.records.synthesis import Cost
from millrace.records.trajectories import Number, Part


class ShardTally(Record, frozen=True, kw_only=True):
    """`tallies/shard-*.json`: what a shard has come to so far (`runs.tally`)."""

    SCHEMA: ClassVar[str] = "millrace.synthesis.shard_tally/1"
    seeds: int = 0
    items: int = 0
    rejected: int = 0
    failures: int = 0
    llm_calls: int = 0
    usd: Number = 0.0
    seconds: Number = 0.0
    statuses: dict[str, int] = {}
    """Status → items."""
    reasons: dict[str, int] = {}
    """Reason → rejected candidates."""
    failed: dict[str, int] = {}
    """Reason → failed seeds."""
    spans: dict[str, Number] = {}
    """Kind of work → seconds."""


class ItemCounts(Part, frozen=True, kw_only=True):
    """Items by how they were checked."""

    verified: int
    judged: int
    unverified: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.verified + self.judged + self.unverified

    def by_status(self) -> dict[str, int]:
        """Status → items."""
        return {"verified": self.verified, "judged": self.judged, "unverified": self.unverified}


class UnmatchedSeeds(Part, frozen=True, kw_only=True):
    """Seeds that said nothing that the environment knows."""

    seeds: int
    examples: list[str]
    """`'seed' → start`."""


class AnswerCounts(Part, frozen=True, kw_only=True):
    """How many different answers there are, and how often the most common ones are given."""

    different: int
    most_common: dict[str, int]


class SeedCounts(Part, frozen=True, kw_only=True):
    """Seeds of the run."""

    lines: int
    different: int
    repeats: int
    failed: int


class RunCounts(Part, frozen=True, kw_only=True):
    """What came of a run's seeds."""

    schema: str = ""
    items: ItemCounts
    rejected: dict[str, int]
    """Reason → candidates."""
    failures: dict[str, int]
    """Reason → seeds."""
    candidates: int
    question_kinds: dict[str, int]
    """Last hop's operator → items."""
    templates: int
    most_common_templates: dict[str, int]
    hops: dict[str, int]
    """Number of hops → items."""
    median_hops: int | None
    unmatched_seeds: UnmatchedSeeds
    seed_match: dict[str, int]
    languages: dict[str, int]
    cost: Cost
    files: dict[str, str]
    """File → SHA-256."""
    answers: AnswerCounts
    seeds: SeedCounts
    answer_limit: int
    """No answer was given more often."""


class Statistics(RunCounts, StageSummary, frozen=True, kw_only=True):
    """`statistics.json`: what came of a run's seeds (`runs.assemble`). With the stage's time: `synthesis/summary.json`."""

    SCHEMA: ClassVar[str] = "millrace.synthesis.statistics/1"
    schema: Literal["millrace.synthesis.statistics/1"] = "millrace.synthesis.statistics/1"
    seconds: Number | UnsetType = UNSET
    """Wall clock of the stage, in the attempt that did it; not in `statistics.json`."""
    work_seconds: Number | UnsetType = UNSET
    """The part of it in which a shard was at work."""


class StageSeconds(Part, frozen=True, kw_only=True):
    """Seconds of a stage, and the part of them in which a shard was at work."""

    wall: Number
    work: Number


class TimeSpent(Part, frozen=True, kw_only=True):
    """Where the time went, in seconds."""

    wall: Number
    stages: dict[str, StageSeconds]
    workers: dict[str, Number]
    """Kind of work → seconds of all workers; `all`: their sum, with what has no name."""


class Machine(Part, frozen=True, kw_only=True):
    """Where a run ran."""

    system: str
    processor: str


class Summary(RunCounts, Record, frozen=True, kw_only=True):
    """`summary.json`: the statistics, with time, cost and versions (`runs.summary`)."""

    SCHEMA: ClassVar[str] = "millrace.synthesis.summary/1"
    schema: Literal["millrace.synthesis.summary/1"] = "millrace.synthesis.summary/1"
    seconds: Number
    """Wall clock of the stage, in the attempt that did it."""
    work_seconds: Number
    """The part of it in which a shard was at work."""
    status: Literal["finished", "short"]
    time: TimeSpent
    paid: list[LedgerRow]
    versions: dict[str, str | None]
    machine: Machine
