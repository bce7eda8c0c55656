"""What came of training on the data: a row for each comparison, and the stage's summary with the verdict."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from millrace.records.improve import PoolFacts
from millrace.records.summaries import StageSummary

Answer = Literal["helps", "no_evidence", "harms"]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Failure rates of two arms on the same things asked. A difference is treated minus control: below 0 is better.

    Source: `millrace.improve.figures`. Rates and differences are shares, 0 to 1; None: nothing was asked, or there are too few
    images or seeds for an interval.
    """

    asked: int
    images: int
    control: float | None
    treated: float | None
    difference: float | None
    low: float | None
    high: float | None
    upper: float | None
    """One-sided: a larger rise is excluded at the level."""
    p_value: float | None
    by_seed: tuple[float | None, ...]
    bootstrap_low: float | None = None
    bootstrap_high: float | None = None
    share: float | None = None
    """Of the things asked that are in this row."""
    p_harm: float | None = None
    """That the rate rose by no more than the margin, corrected over the rows of its group (Holm)."""
    worse: bool = False
    """Whether a rise beyond the margin is shown."""
    within_margin: bool | None = None
    """Whether such a rise is excluded; None: nothing was asked."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one hypothesis."""

    name: str
    treated: str
    control: str
    expected: str
    on: str | UnsetType = UNSET
    """`rare kinds`: on images of those alone; not there: on all."""
    whole: Difference
    as_expected: bool | None
    """None: too little to tell."""
    claims: dict[str, Difference] = {}
    factors: dict[str, Difference] = {}
    outcomes: dict[str, Difference] = {}


class ScalePoint(msgspec.Struct, frozen=True, kw_only=True):
    """An arm at one size."""

    arm: str
    on: str
    """`all` images, or `rare kinds` alone."""
    images: int
    records: int
    against_base: Difference


class ItemsSaved(msgspec.Struct, frozen=True, kw_only=True):
    """How many untargeted records do the work of the targeted ones. Source: the scaling curve, by straight lines."""

    on: str
    targeted: int
    untargeted: int | None
    """None: more than were tried."""
    tried: int
    """The most untargeted records that were tried."""


class TrainingSeconds(msgspec.Struct, frozen=True, kw_only=True):
    """How long trainings took, in seconds of wall time. Source: `trained.json` of those that were done here."""

    least: float
    most: float
    sum: float


class ImproveSummary(StageSummary, frozen=True, kw_only=True):
    """`improve/summary.json`. Source: all models' probings. `came_in == went_out + sum(dropped.values())`, in things asked."""

    SCHEMA: ClassVar[str] = "millrace.improve_summary/1"

    schema: Literal["millrace.improve_summary/1"] = "millrace.improve_summary/1"
    verdict: Answer
    """Of the data: the targeted arm against the base."""
    targeting: Answer
    """Of the choice: the targeted arm against the untargeted one."""
    because: tuple[str, ...]
    """A sentence for each fact that the verdict rests on."""
    plan: str
    """The plan's hash."""
    asked: int
    """Things that the base was asked."""
    came_in: int = msgspec.field(name="in")
    went_out: int = msgspec.field(name="out")
    dropped: dict[str, int]
    """Reason → things asked that were not decided for every model."""
    images: int
    models: int
    """Trainings."""
    records: int
    """In one training set."""
    training_s: TrainingSeconds | None
    """None: no model was trained here."""
    rates: dict[str, float]
    """Model → its failure rate, 0 to 1."""
    comparisons: tuple[Comparison, ...]
    pool: PoolFacts
    scaling: tuple[ScalePoint, ...] | UnsetType = UNSET
    """Not there when one size was trained."""
    saved: tuple[ItemsSaved, ...] | UnsetType = UNSET
    cells: dict[str, dict[str, Difference]] | UnsetType = UNSET
    """New scenes and new wording: which (`new scenes, known wording` …) → hypothesis → its difference there. Not there when only
    the test itself was asked."""
    seconds: float | UnsetType = UNSET
    """Wall time of the attempt that did the stage. Source: the run's timeline, when the stage is done."""
    work_seconds: float | UnsetType = UNSET
    """The part of it in which at least one of its shards was worked on."""
