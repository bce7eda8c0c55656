"""What a stage leaves as `summary.json`: its funnel (in = out + dropped by reason), and what it counted."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import msgspec
from msgspec import UNSET, UnsetType

from millrace.errors import InputError
from millrace.records.record import Record


class StageSummary(Record, frozen=True, kw_only=True):
    """What a stage returns. Each ends with `seconds` and `work_seconds`, which the run fills in."""

    SCHEMA: ClassVar[str] = "millrace.stage_summary/1"

    @property
    def is_short(self) -> bool:
        """Whether the stage is complete, but short of its target."""
        return False


class RankProgress(Record, frozen=True, kw_only=True):
    """`progress-RANK.json` beside the units that ranks work on: how far one rank is. Source: the rank, every half second."""

    SCHEMA: ClassVar[str] = "millrace.rank_progress/1"

    images: int = 0
    failures: int = 0
    units: int = 0


class JudgeVotes(msgspec.Struct, frozen=True, kw_only=True):
    """One judge's votes."""

    votes: int
    decided: int
    """On claims that were not tied."""
    agreed: int
    """Of those, with the majority."""


class JudgesAgreement(msgspec.Struct, frozen=True, kw_only=True):
    """How far several judges agreed. Source: the votes in the outcomes, see `millrace.probing.agreement`."""

    n: int
    """Claims with two votes or more."""
    unanimous: int
    tied: int
    kappa: float | None
    """Fleiss' kappa of "the model failed", -1 to 1; None where it is not defined."""
    with_majority: dict[str, JudgeVotes]
    """By judge."""
    missing: dict[str, dict[str, int]] | UnsetType = UNSET
    """Judge → why it gave no vote → how often."""


class JudgedAgain(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an earlier run's verdicts when another judge decided on the same answers. Source: both runs' outcomes."""

    run: str
    """The earlier run's folder."""
    before: str
    """The judge that decided most of its outcomes."""
    n: int
    """Outcomes with an answer of the model: both judges decided on them."""
    same: int
    """Of these, the same outcome by both."""
    kappa: float | None
    """Fleiss' kappa of whether the model failed; None where both always say the same and chance would, too."""
    became: dict[str, dict[str, int]]
    """Earlier outcome → outcome now → how often."""


class ProbingSummary(StageSummary, frozen=True, kw_only=True):
    """`probing/summary.json`. Source: the settled outcomes. `came_in == went_out + sum(dropped.values())`, in claims."""

    SCHEMA: ClassVar[str] = "millrace.probing_summary/1"

    stop: str
    """Why probing stopped: target, exhausted, empty."""
    images: int
    came_in: int = msgspec.field(name="in")
    went_out: int = msgspec.field(name="out")
    failures: int
    """Outcomes that are the model's fault."""
    dropped: dict[str, int]
    """Reason → claims."""
    outcomes: dict[str, int]
    """Outcome → claims, all ten."""
    claims: dict[str, dict[str, int]]
    """Claim → outcome → how often."""
    factors: dict[str, dict[str, int]]
    """Factor → outcome → how often; "none" for images without any."""
    shards: int
    judges: JudgesAgreement | UnsetType = UNSET
    """Where several voted."""
    judged_again: JudgedAgain | UnsetType = UNSET
    """Where the answers are an earlier run's."""
    target: int | UnsetType | None = UNSET
    """Failures wanted; None: a number of images was. Source: the config."""
    lake: str | UnsetType = UNSET
    """The folder of images. Source: the config, or the embedded lake's cache."""
    seconds: float | UnsetType = UNSET
    """Wall time of the attempt that did the stage. Source: the run's timeline, when the stage is done."""
    work_seconds: float | UnsetType = UNSET
    """The part of it in which at least one of its shards was worked on."""

    @property
    def lake_folder(self) -> Path:
        """`lake` as a path."""
        if not isinstance(self.lake, str):
            raise InputError("the summary of probing names no lake; it was written by another version: use a new run folder")
        return Path(self.lake)

    @property
    def is_short(self) -> bool:
        """Whether a target was set and not reached."""
        return isinstance(self.target, int) and self.failures < self.target


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """How many failures of one kind there were, and how many are kept."""

    failures: int
    kept: int


class FilteringSummary(StageSummary, frozen=True, kw_only=True):
    """`filtering/summary.json`. Source: the funnel. `came_in == went_out + sum(dropped.values())`, in outcomes."""

    SCHEMA: ClassVar[str] = "millrace.filtering_summary/1"

    came_in: int = msgspec.field(name="in")
    went_out: int = msgspec.field(name="out")
    dropped: dict[str, int]
    balance: dict[str, Balance]
    """By failure id."""
    shards: tuple[str, ...]
    """Paths of the files written."""
    seconds: float | UnsetType = UNSET
    """Wall time of the attempt that did the stage. Source: the run's timeline, when the stage is done."""
    work_seconds: float | UnsetType = UNSET
    """The part of it in which at least one of its shards was worked on."""


class DatasetCount(msgspec.Struct, frozen=True, kw_only=True):
    """What the dataset holds."""

    rows: int
    splits: dict[str, int]
    images: dict[str, int]
    """Split → different images."""


class BaselineCount(msgspec.Struct, frozen=True, kw_only=True):
    """How often the model under test fails the final questions."""

    failures: int
    n: int


class BlindGuess(msgspec.Struct, frozen=True, kw_only=True):
    """How a guesser without the picture does on a group of questions. Source: `millrace.qa.checking.text_only_baseline`."""

    n: int
    right: int
    chance: float
    """Mean chance of being right by luck, 0 to 1."""
    low: float | None
    high: float | None
    """Wilson interval of the share guessed right; None when nothing was counted."""

    @property
    def beats_chance(self) -> bool:
        """Whether even the low end of the interval is above chance."""
        return self.low is not None and self.low > self.chance


class QaSummary(StageSummary, frozen=True, kw_only=True):
    """`qa/summary.json`. Source: the question stage. `came_in == went_out + sum(dropped.values())`, in questions wanted."""

    SCHEMA: ClassVar[str] = "millrace.qa_summary/1"

    came_in: int = msgspec.field(name="in")
    went_out: int = msgspec.field(name="out")
    dropped: dict[str, int]
    dataset: DatasetCount
    verification: dict[str, int]
    """verified, judged, unverified → questions."""
    question_types: dict[str, int]
    pipelines: dict[str, int]
    baseline: BaselineCount
    blind: dict[str, BlindGuess]
    """Form, or pipeline and form, by which guesser."""
    positions: dict[str, int]
    """Key → how often it is right."""
    exports: dict[str, int]
    """Export → questions."""
    seconds: float | UnsetType = UNSET
    """Wall time of the attempt that did the stage. Source: the run's timeline, when the stage is done."""
    work_seconds: float | UnsetType = UNSET
    """The part of it in which at least one of its shards was worked on."""


class StageSpent(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stage's time went in one attempt, in seconds. Source: `millrace.run.timeline`."""

    wall: float
    work: float
    """The part in which at least one of its shards was worked on."""
    orchestration: float
    """The rest."""


class RunSpent(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run's time went in one attempt, in seconds, as `StageSpent` has it."""

    wall: float
    work: float
    orchestration: float
    stages: dict[str, StageSpent]
    clock_step_s: float | UnsetType = UNSET
    """There only if the wall clock was set meanwhile: by how many seconds, forward or (below 0) back."""


class StageSeconds(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stage's time went, in seconds; what is not work is orchestration."""

    wall: float
    work: float


class RunSeconds(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run's time went, in seconds. Source: the stages' summaries, and the timeline for what lies outside them."""

    wall: float
    work: float
    orchestration: float
    stages: dict[str, StageSeconds]


class DatasetFile(msgspec.Struct, frozen=True, kw_only=True):
    """One parquet file of a dataset."""

    rows: int
    bytes: int
    sha256: str


class RateSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A measured rate. Source: `millrace.reporting.intervals`."""

    n: int
    failures: int
    rate: float | None
    """0 to 1; None when nothing was counted."""
    low: float | None
    high: float | None
    """95 % interval (Wilson)."""


class DatasetReport(Record, frozen=True, kw_only=True):
    """What the dataset holds: `dataset/manifest.json`. Source: its writing. `seen == rows + sum(dropped.values())`."""

    SCHEMA: ClassVar[str] = "millrace.dataset_manifest/1"

    path: str
    seen: int
    rows: int
    dropped: dict[str, int]
    splits: dict[str, dict[str, int]]
    """Status → split → rows."""
    question_types: dict[str, int]
    pipelines: dict[str, int]
    images: dict[str, int]
    """Split → different images."""
    baseline: RateSummary
    """How often the model under test fails the final questions."""
    answers: dict[str, int]
    """Key of the right option → how often, among multiple-choice questions."""
    files: dict[str, DatasetFile]


class ExportDone(Record, frozen=True, kw_only=True):
    """`export.json` in the folder of an export that is complete."""

    SCHEMA: ClassVar[str] = "millrace.export/1"

    export: str
    rows: int
