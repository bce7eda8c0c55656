"""What comparing two models finds: a row for the whole, each claim, factor and outcome, and the summaries that hold them."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from millrace.records.record import Record
from millrace.records.summaries import StageSummary

RowVerdict = Literal["better", "worse", "no_evidence", "not_compared"]
"""Of one row: shown to fail less, shown to fail more, neither, no pair."""

Verdict = Literal["better", "worse", "mixed", "no_evidence"]
"""`better` and `worse`: over all; `mixed`: better in one place and worse in another; `no_evidence`: no difference shown."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the result. Rates and differences are shares, 0 to 1; a difference is after minus before.

    Source: `millrace.compare.figures`. None: there is nothing to compute it from.
    """

    pairs: int
    images: int
    failures_before: int
    failures_after: int
    """For an outcome: how often it occurred."""
    rate_before: float | None
    rate_after: float | None
    worse: int
    better: int
    """Pairs that failed only after, and only before; for an outcome: that had it only after, and only before."""
    difference: float | None
    low: float | None
    high: float | None
    """Ends of the interval of level 1 - alpha."""
    upper: float | None
    """One-sided: a larger difference is excluded at the level alpha."""
    p_value: float | None
    p_holm: float | None
    """Corrected over the rows of its group."""
    p_no_harm: float | None
    no_harm: bool | None
    """Whether a rise by the margin is excluded; None where a rise is no harm, or nothing was compared."""
    verdict: RowVerdict
    design_effect: float | None
    seen: float | None
    """The smallest difference that this comparison would have shown with a chance of 80 %."""
    images_to_see: int | None
    """Images it takes to see `compare.difference` with that chance, from what was found here."""
    images_for_no_harm: int | None
    """Images it takes to exclude a rise by the margin where there is none."""


class SideFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two models. Source: its probing's config and journals."""

    label: str
    """What the report calls it."""
    model: str
    fingerprint: str
    """Changes with anything that may change a reply; "": no reply says it."""
    folder: str
    """Of its probing."""
    sha256: str
    """Over its journals."""
    target_failure_count: int | None
    """Failures after which its probing stopped; None: it had no target."""


class CompareStageSummary(StageSummary, frozen=True, kw_only=True):
    """`compare/summary.json`. Source: the two probings. `came_in == went_out + sum(dropped.values())`, in pairs wanted."""

    SCHEMA: ClassVar[str] = "millrace.compare_stage/1"

    verdict: Verdict
    no_harm: bool
    """Whether a rise by the margin is excluded over all, for every claim and for every kind of failure."""
    says: tuple[str, ...]
    """The title, then the sentences."""
    came_in: int = msgspec.field(name="in")
    went_out: int = msgspec.field(name="out")
    dropped: dict[str, int]
    """Why there is no pair → how many."""
    images: int
    flips: dict[str, int]
    """`worse`, `better` → pairs that failed only after, only before."""
    whole: Row
    claims: dict[str, Row]
    factors: dict[str, Row]
    outcomes: dict[str, Row]
    sides: dict[str, SideFacts]
    """`before`, `after`."""
    differing: tuple[tuple[str, str, str], ...]
    """Settings of the two probings that differ: dotted name, before, after."""
    shards: int
    """Journals of pairs."""
    seconds: float | UnsetType = UNSET
    """Wall time of the attempt that did the stage. Source: the run's timeline, when the stage is done."""
    work_seconds: float | UnsetType = UNSET
    """The part of it in which it was worked on."""


class ComparedHow(msgspec.Struct, frozen=True, kw_only=True):
    """With what the figures were made. Source: the settings `compare`, which say what each is."""

    claims: tuple[str, ...]
    margin: float
    difference: float
    expected_discordance: float
    expected_design_effect: float
    alpha: float
    draws: int
    seed: int
    flips_shown: int
    require: str


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where figures were computed. Source: Python's `platform`."""

    system: str
    processor: str


class CompareSummary(Record, frozen=True, kw_only=True):
    """`summary.json` of a comparison: its stage's figures, and with what they were made. See `CompareStageSummary`."""

    SCHEMA: ClassVar[str] = "millrace.compare_summary/1"

    schema: Literal["millrace.compare_summary/1"] = "millrace.compare_summary/1"
    status: str
    """`finished`, or `short` of what was required."""
    verdict: Verdict
    no_harm: bool
    says: tuple[str, ...]
    came_in: int = msgspec.field(name="in")
    went_out: int = msgspec.field(name="out")
    dropped: dict[str, int]
    images: int
    flips: dict[str, int]
    whole: Row
    claims: dict[str, Row]
    factors: dict[str, Row]
    outcomes: dict[str, Row]
    sides: dict[str, SideFacts]
    differing: tuple[tuple[str, str, str], ...]
    settings: ComparedHow
    versions: dict[str, str | None]
    """Package → version; None: not installed."""
    machine: Machine
