"""RUN_DIR/report.html: what a run found, for a person, in one look and in one file.

The caller fills `ReportData` with what was measured; `write_report` turns it into a page that needs nothing else: no script,
no font, no request, images inside. Whatever comes from outside (claims, answers, names, image bytes) is data: text is escaped,
pictures are decoded and encoded anew, and the page's own policy forbids scripts and requests.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from millrace.errors import ItemFailed
from millrace.records.outcome import FAILURES
from millrace.records.question import CheckResult
from millrace.records.summaries import JudgedAgain
from millrace.reporting import charts
from millrace.reporting.atlas.page import link_to
from millrace.reporting.intervals import Rate, rate_of
from millrace.reporting.stage_times import StageTime, orchestration_of
from millrace.run.journal import write_atomic

OUTCOMES = {
    "correct": "answered, and the answer is right",
    "right_abstain": "said that the claim does not apply, and it does not",
    "wrong": "answered, and the answer is wrong",
    "wrong_abstain": "said that the claim does not apply, though it does",
    "hallucinated": "answered a claim about something that is not there",
    "format_error": "gave a reply that cannot be read as an answer",
    "infra_error": "a fault of ours or of a server; never counted as the model's",
    "judge_uncertain": "the judge could not decide; never counted as the model's",
    "cut_off": "a reply broke off, also when given more room; never counted as the model's",
    "filtered": "a server's content filter withheld a reply; never counted as the model's",
}
"""Every outcome in the order of the report, with what it means."""

THUMBNAIL_PX = 360
"""Longest side of a picture in the report: sharp on a phone's screen, small in the file."""


class ClaimResult(msgspec.Struct, frozen=True):
    """How often the model failed at one claim."""

    claim_id: str
    name: str
    asks: str
    """The claim's sentence with its slots, or what it probes in a few words."""
    rate: Rate


class FactorResult(msgspec.Struct, frozen=True):
    """How often the model failed on images with and without a property."""

    factor: str
    means: str
    present: Rate
    absent: Rate


class FunnelStage(msgspec.Struct, frozen=True):
    """What went into a stage, what came out, and why the rest did not."""

    name: str
    counts: str
    """What is counted: "claims", "questions" …"""
    came_in: int
    went_out: int
    dropped: dict[str, int]
    """Reason → how many."""

    @property
    def missing(self) -> int:
        """How many are unaccounted for: 0 when the stage adds up."""
        return self.came_in - self.went_out - sum(self.dropped.values())


class DatasetResult(msgspec.Struct, frozen=True):
    """What the run made."""

    rows: int
    path: str
    verification: dict[str, int]
    """`verified`, `judged`, `unverified` → items."""
    question_types: dict[str, int]
    splits: dict[str, int]
    baseline: Rate
    """How often the model under test fails the final questions; `Rate(0, 0)` when it was not asked."""


class PaidRow(msgspec.Struct, frozen=True):
    """What one stage asked of one chat model on one day (UTC)."""

    day: str
    stage: str
    model: str
    calls: int
    requests: int
    """Sent for these calls, failed attempts included."""
    input_tokens: int | None
    output_tokens: int | None
    """None when the server did not count the tokens of every call."""
    cost_usd: float | None
    """None when the price or the tokens of any call are unknown."""
    cut_off: int = 0
    """Answers that broke off at their longest length."""
    filtered: int = 0
    """Questions or answers that a content filter withheld."""
    discarded: int = 0
    """Replies that could not be used and were asked for again."""


class JudgesResult(msgspec.Struct, frozen=True):
    """How far several judges agreed."""

    n: int
    """Claims with two votes or more."""
    unanimous: int
    tied: int
    kappa: float | None
    judges: dict[str, Rate]
    """Per judge, of its votes on claims that had a majority, those against it (as failures of a rate)."""
    missing: dict[str, str] = {}
    """Per judge that did not always vote: how often it did not, and why, in words."""


class Example(msgspec.Struct, frozen=True):
    """One failure and the question made from it."""

    claim_id: str
    image: bytes | None
    image_id: str
    outcome: str
    claim: str
    model_answer: str
    right_answer: str
    factors: tuple[str, ...] = ()
    question: str | None = None
    """None when no question was made from it."""
    options: dict[str, str] = {}
    answer: str = ""
    """The right option's key, or the answer itself where there are no options."""
    rounded: bool = False
    """Whether the question's right answer is the offered one nearest to the exact `right_answer`."""
    verification: str = "unverified"
    verified_by: str = ""
    checks: tuple[CheckResult, ...] = ()
    baseline_answer: str | None = None
    """The model's reply to the final question; None when it was not asked."""
    baseline_correct: bool | None = None


class ReportData(msgspec.Struct, frozen=True):
    """Everything that the report shows."""

    title: str
    status: str
    """One of `complete`, `short of its target`, `failed` … in words."""
    model: str
    model_detail: str
    lake: str
    """Which images, in words."""
    images: int | None
    created: str
    """When the run ended, readable."""
    outcomes: dict[str, int]
    claims: tuple[ClaimResult, ...]
    factors: tuple[FactorResult, ...]
    funnel: tuple[FunnelStage, ...]
    wall_s: float | None
    times: tuple[StageTime, ...]
    dataset: DatasetResult | None
    gallery: tuple[Example, ...]
    reproduce: tuple[str, ...]
    """Commands, one per line."""
    settings: dict[str, str] = {}
    versions: dict[str, str] = {}
    limits: tuple[str, ...] = ()
    paid: tuple[PaidRow, ...] = ()
    """Empty when no chat model was called."""
    judges: JudgesResult | None = None
    """None when no claim had two votes."""
    atlas: bool = False
    """Whether there is an atlas beside the report, to which its marks lead."""
    judged_again: JudgedAgain | None = None
    """Where the model's answers are an earlier run's: what became of its verdicts."""

    @property
    def overall(self) -> Rate:
        """The model's failures among the claims that were decided."""
        return rate_of(self.outcomes)

    @property
    def paid_usd(self) -> float | None:
        """What all calls cost; None when that is not known of every one."""
        costs = [row.cost_usd for row in self.paid]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    @property
    def orchestration(self) -> float | None:
        """Seconds of orchestration in all stages; None when any stage's was not measured."""
        return orchestration_of(self.times)


def write_report(data: ReportData, path: Path) -> Path:
    """Write the report to `path`, all at once, and return the path."""
    write_atomic(path, render_report(data))
    return path


def render_report(data: ReportData) -> str:
    """The report as one HTML page."""
    claims = sorted(data.claims, key=lambda claim: -(claim.rate.rate if claim.rate.rate is not None else -1.0))
    rates = [claim.rate for claim in claims] + [data.overall]
    factor_rates = [rate for factor in data.factors for rate in (factor.present, factor.absent)]
    return _template().render(
        data=data,
        overall=data.overall,
        claims=claims,
        claim_axis=charts.axis_for(rates),
        factors=sorted(data.factors, key=lambda factor: -(_gap(factor) or 0.0)),
        factor_axis=charts.axis_for(factor_rates),
        outcomes=OUTCOMES,
        failures=FAILURES,
        findings=findings(data),
        gallery=[(example, picture_uri(example.image)) for example in data.gallery],
        names={claim.claim_id: claim.name for claim in claims},
        numbers={claim.claim_id: number for number, claim in enumerate(claims, start=1)},
        shown={example.claim_id for example in data.gallery},
        shares=charts.stacked({name: data.outcomes.get(name, 0) for name in OUTCOMES}),
    )


def findings(data: ReportData) -> list[str]:
    """What stands out, in sentences that the intervals support; nothing is claimed of differences that chance may explain."""
    percent, number = charts.percent, charts.number
    found = []
    known = sorted((claim for claim in data.claims if claim.rate.rate is not None), key=lambda claim: claim.rate.rate or 0.0)
    if len(known) >= 2 and charts.clearly_apart(known[-1].rate, known[0].rate):
        worst, best = known[-1], known[0]
        weakest = f"Weakest at “{worst.name}” ({percent(worst.rate.rate)} fail)"
        found.append(f"{weakest}, strongest at “{best.name}” ({percent(best.rate.rate)}).")
    worse = [factor for factor in data.factors if charts.clearly_apart(factor.present, factor.absent) and (_gap(factor) or 0) > 0]
    if worse:
        most = max(worse, key=lambda factor: _gap(factor) or 0.0)
        rates = f"{percent(most.present.rate)} of the claims fail with it, {percent(most.absent.rate)} without"
        found.append(f"What hurts most is “{charts.words(most.factor)}”: {rates}.")
    if data.dataset and data.dataset.rows:
        made = f"{number(data.dataset.rows)} questions were made from these failures"
        checked = f"{number(data.dataset.verification.get('verified', 0))} of them verified"
        fails = data.dataset.baseline.rate
        found.append(f"{made}, {checked}" + (f"; the model fails {percent(fails)} of them." if fails is not None else "."))
    return found


def _gap(factor: FactorResult) -> float | None:
    present, absent = factor.present.rate, factor.absent.rate
    return None if present is None or absent is None else present - absent


def picture_uri(data: bytes | None) -> str | None:
    """A picture for the page, decoded, scaled down and encoded anew; None when there is none that can be shown."""
    if not data:
        return None
    from PIL import Image

    from millrace.lake.images import decode_image

    try:
        picture = decode_image(data)
    except ItemFailed:
        return None
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    file = BytesIO()
    picture.save(file, "JPEG", quality=84, optimize=True)
    return "data:image/jpeg;base64," + binascii.b2a_base64(file.getvalue(), newline=False).decode()


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(charts.PAGE_PARTS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: Mapping[str, Any] = {
        "percent": charts.percent,
        "number": charts.number,
        "duration": charts.duration,
        "words": charts.words,
        "interval": charts.interval_words,
        "slots": charts.with_slots,
        "dollars": charts.dollars,
    }
    environment.filters.update(filters)
    environment.globals.update(atlas=link_to, whisker=charts.whisker, apart=charts.clearly_apart, unknown=charts.UNKNOWN)
    return environment.get_template("report_template.html.j2")
