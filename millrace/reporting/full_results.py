"""A finished main job, put together: `summary.json` for machines, the report's data for people.

Reads what the stages left in the run folder and nothing else, so that both can be made again at any time.
"""

from __future__ import annotations

import itertools
import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import UNSET, UnsetType, structs

from millrace.errors import ItemFailed
from millrace.lake.annotations import factor_words, kind_named_in
from millrace.lake.reader import LakeReader
from millrace.llm.run_chats import ledger_of_run
from millrace.records.llm import LedgerRow
from millrace.records.outcome import PROBED_CLAIM, OutcomeRecord
from millrace.records.question import Item
from millrace.records.results.compare import Machine
from millrace.records.results.improve import ImproveSummary
from millrace.records.results.main_job import DatasetMade, MainJobSummary, Proof, StageFunnel
from millrace.records.summaries import (
    FilteringSummary,
    JudgesAgreement,
    ProbingSummary,
    QaSummary,
    RunSeconds,
    RunSpent,
    StageSeconds,
)
from millrace.reporting import charts
from millrace.reporting.atlas.page import FOLDER
from millrace.reporting.full_atlas import write_full_atlas
from millrace.reporting.full_report import (
    ClaimResult,
    DatasetResult,
    Example,
    FactorResult,
    FunnelStage,
    JudgesResult,
    PaidRow,
    ReportData,
    findings,
    write_report,
)
from millrace.reporting.intervals import Rate, rate_of
from millrace.reporting.stage_times import StageTime
from millrace.run.counted import counted
from millrace.run.folder import versions
from millrace.run.ids import fraction_for
from millrace.run.journal import read_json, read_record, read_records, write_json

if TYPE_CHECKING:
    from millrace.probing.claims import ClaimSet
    from millrace.run.context import RunContext

STAGES = {"probing": "claims", "filtering": "outcomes", "qa": "failures"}
"""The main job's stages and what goes into each."""

EXAMPLES_PER_CLAIM = 2

LIMITS = (
    "The intervals cover the chance in which images were drawn; they take claims about one image as independent.",
    "An error of the judge is in no interval.",
    "A factor goes with failures; that it causes them is not shown.",
    "Questions are worded by templates; what is verified is their answers.",
)


def conclude(run: RunContext, claims: ClaimSet) -> MainJobSummary:
    """Write the summary and the report of a main job whose stages are complete, and show both where the run is watched."""
    folder = run.folder.path
    summary = summarise(folder, run.status, run.timeline.seconds())
    names = {claim.claim_id: claim.name for claim in claims.claims}
    lake = _Stages.read(folder).probing.lake_folder
    write_full_atlas(folder, lake, names, kind_named_in(read_json(folder / "config.json")["probing"]))
    data = report_data(folder, summary, {claim.claim_id: (claim.name, claim.claim_template) for claim in claims.claims})
    write_report(data, folder / "report.html")
    run.show_table("failure-rates", rate_table(data), "Failure rate per claim, with 95 % intervals")
    run.show_text("report", as_markdown(data, folder), "What the run found")
    write_json(folder / "summary.json", summary)
    run.progress.say(f"{counted(summary.dataset.rows, 'questions')} in {folder / 'dataset'}, report in {folder / 'report.html'}")
    return summary


def summarise(folder: Path, status: str, spent: RunSpent) -> MainJobSummary:
    """The content of `summary.json`.

    Args:
        folder: the run's folder, with all stages complete.
        status: `finished` or `short`.
        spent: where the time of this attempt went (`Timeline.seconds`); a stage that an earlier one finished keeps its own.
    """
    stages = _Stages.read(folder)
    probing, qa = stages.probing, stages.qa
    return MainJobSummary(
        status=status,
        stages={
            name: StageFunnel(came_in=stage.came_in, went_out=stage.went_out, dropped=stage.dropped, seconds=stage.seconds)
            for name, stage in stages._asdict().items()
        },
        outcomes=probing.outcomes,
        failure_rates={claim: rate_of(outcomes).summary() for claim, outcomes in probing.claims.items()},
        factors={factor: rate_of(outcomes).summary() for factor, outcomes in probing.factors.items()},
        images=probing.images,
        dataset=DatasetMade(**structs.asdict(qa.dataset), path=str(folder / "dataset")),
        time=_time(stages, spent.stages["start and stop"].wall),
        judges=probing.judges,
        judged_again=probing.judged_again,
        improve=_proof(folder),
        paid=tuple(ledger_of_run(folder)),
        versions=versions(),
        machine=Machine(system=platform.platform(), processor=platform.machine()),
    )


class _Stages(NamedTuple):
    """What each stage left."""

    probing: ProbingSummary
    filtering: FilteringSummary
    qa: QaSummary

    @classmethod
    def read(cls, folder: Path) -> _Stages:
        """Of a run's folder, with all stages complete."""
        return cls(
            read_record(folder / "probing" / "summary.json", ProbingSummary),
            read_record(folder / "filtering" / "summary.json", FilteringSummary),
            read_record(folder / "qa" / "summary.json", QaSummary),
        )


def _proof(folder: Path) -> Proof | UnsetType:
    """What `improve` found, where it was switched on."""
    kept = folder / "improve" / "summary.json"
    if not kept.exists():
        return UNSET
    found = read_record(kept, ImproveSummary)
    return Proof(verdict=found.verdict, targeting=found.targeting, because=found.because, plan=found.plan)


def _time(stages: _Stages, outside: float) -> RunSeconds:
    """Seconds by stage: its wall time, the part in which work was done, and the orchestration around it."""
    done = stages._asdict().items()
    parts = {name: StageSeconds(wall=stage.seconds or 0.0, work=stage.work_seconds or 0.0) for name, stage in done}
    parts["start and stop"] = StageSeconds(wall=round(outside, 3), work=0.0)
    wall, work = sum(part.wall for part in parts.values()), sum(part.work for part in parts.values())
    return RunSeconds(wall=round(wall, 3), work=round(work, 3), orchestration=round(wall - work, 3), stages=parts)


def rate_table(data: ReportData) -> list[dict[str, str | int]]:
    """The failure rates as rows of a table."""
    rows: list[dict[str, str | int]] = []
    for claim in sorted(data.claims, key=lambda one: -(one.rate.rate or 0.0)):
        low, high = claim.rate.interval or (None, None)
        shown = {"rate": claim.rate.rate, "low": low, "high": high}
        percent = {name: "not measured" if value is None else f"{value:.1%}" for name, value in shown.items()}
        rows.append({"claim": claim.claim_id, "asked": claim.rate.n, "failures": claim.rate.failures, **percent})
    return rows


def as_markdown(data: ReportData, folder: Path) -> str:
    """The report's findings for the Prefect UI."""
    lines = [f"# {data.title}: {data.status}", "", *(f"- {finding}" for finding in findings(data)), ""]
    for stage in data.funnel:
        dropped = ", ".join(f"{reason} {count}" for reason, count in stage.dropped.items()) or "none"
        lines.append(f"- **{stage.name}**: {stage.came_in} {stage.counts} in, {stage.went_out} out, dropped: {dropped}")
    if data.paid:
        cost = "at an unknown cost" if data.paid_usd is None else charts.dollars(data.paid_usd)
        lines.append(f"- **chat models**: {sum(row.calls for row in data.paid)} answers, {cost}")
    return "\n".join([*lines, "", f"The whole report: `{folder / 'report.html'}`"])


def report_data(folder: Path, summary: MainJobSummary, claims: Mapping[str, tuple[str, str]]) -> ReportData:
    """What the report shows.

    Args:
        folder: the run's folder.
        summary: from `summarise`.
        claims: claim id → (name, what it asks).
    """
    stages = _Stages.read(folder)
    probing, qa = stages.probing, stages.qa
    config = read_json(folder / "config.json")
    annotation = kind_named_in(config["probing"])
    total = rate_of(probing.outcomes)
    return ReportData(
        title="Where the model fails",
        status="complete" if summary.status == "finished" else "short of its target",
        model=config["probing"]["baseline"].get("name", "?"),
        model_detail=_model_detail(folder),
        lake="embedded digit scenes" if config["probing"]["lake"]["path"] is None else str(probing.lake_folder),
        images=probing.images,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        outcomes=probing.outcomes,
        claims=tuple(
            ClaimResult(claim, name, asks, rate_of(outcomes))
            for claim, outcomes in probing.claims.items()
            for name, asks in [claims.get(claim, (claim, ""))]
        ),
        factors=tuple(
            FactorResult(
                name, factor_words(name, annotation), present, Rate(total.failures - present.failures, total.n - present.n)
            )
            for name, outcomes in probing.factors.items()
            if name != "none"
            for present in [rate_of(outcomes)]
        ),
        funnel=tuple(
            FunnelStage(name, STAGES[name], stage.came_in, stage.went_out, stage.dropped)
            for name, stage in stages._asdict().items()
        ),
        wall_s=summary.time.wall,
        times=tuple(StageTime(name, stage.wall, stage.work) for name, stage in summary.time.stages.items()),
        dataset=DatasetResult(
            rows=qa.dataset.rows,
            path="dataset",
            verification=qa.verification,
            question_types=qa.question_types,
            splits=qa.dataset.splits,
            baseline=Rate(qa.baseline.failures, qa.baseline.n),
        ),
        gallery=tuple(examples(folder, probing.lake_folder)),
        atlas=(folder / FOLDER / "index.html").exists(),
        reproduce=(f"python -m flows.full --config {folder / 'config.json'} --run-dir NEW_FOLDER",),
        settings=_flat(config),
        versions={name: version for name, version in summary.versions.items() if version},
        limits=LIMITS,
        paid=tuple(_paid(row) for row in summary.paid),
        judges=_judges(probing.judges),
        judged_again=probing.judged_again or None,
    )


def _paid(row: LedgerRow) -> PaidRow:
    """A line of the ledger; where a part of it is unknown the whole is, and not a sum that looks complete."""
    known, priced = not row.unknown_tokens, not row.unknown_cost
    return PaidRow(
        day=row.day,
        stage=row.stage,
        model=row.model,
        calls=row.calls,
        requests=row.requests,
        input_tokens=row.input_tokens if known else None,
        output_tokens=row.output_tokens if known else None,
        cost_usd=row.cost_usd if priced else None,
        cut_off=row.cut_off,
        filtered=row.filtered,
        discarded=row.discarded,
    )


def _judges(agreement: JudgesAgreement | UnsetType) -> JudgesResult | None:
    if not agreement:
        return None
    against = {name: Rate(row.decided - row.agreed, row.decided) for name, row in agreement.with_majority.items()}
    missing = {
        name: ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in reasons.items())
        for name, reasons in (agreement.missing or {}).items()
    }
    return JudgesResult(agreement.n, agreement.unanimous, agreement.tied, agreement.kappa, against, missing)


def examples(folder: Path, lake: Path) -> Iterator[Example]:
    """A few items for each claim, drawn by their ids, with their images."""
    accepted = itertools.chain.from_iterable(read_records(path, Item) for path in sorted((folder / "qa").glob("shard-*.jsonl")))
    by_claim: dict[str, list[tuple[float, Item]]] = {}
    for item in accepted:
        entry = (fraction_for(0, "gallery", item.id), item)
        kept = by_claim.setdefault(item.lineage.claim_id or "", [])
        kept.append(entry)
        kept.sort(key=lambda one: one[0])
        del kept[EXAMPLES_PER_CLAIM:]
    reader = LakeReader(lake)
    for rank in range(EXAMPLES_PER_CLAIM):
        for claim in sorted(by_claim):
            if rank < len(by_claim[claim]):
                yield _example(by_claim[claim][rank][1], reader)


def _example(item: Item, reader: LakeReader) -> Example:
    lineage, verification = item.lineage, item.verification
    try:
        image = reader.read(item.image).image_bytes
    except ItemFailed:
        image = None
    answered = lineage.baseline.said if lineage.baseline is not None and lineage.baseline.related else None
    return Example(
        claim_id=lineage.claim_id or "",
        image=image,
        image_id=item.image.image_id,
        outcome=lineage.outcome or "",
        claim=lineage.claim,
        model_answer="does not apply" if answered is None else ", ".join(answered.values()),
        right_answer=", ".join(lineage.correct.values()) or "does not apply",
        factors=lineage.factors,
        question=item.question,
        options=item.options,
        answer=item.answer,
        rounded=_rounded(item),
        verification=verification.status,
        verified_by=verification.by or "",
        checks=verification.checks,
        baseline_answer=next(iter(item.difficulty.answers), None),
        baseline_correct=item.difficulty.baseline_correct,
    )


def _rounded(item: Item) -> bool:
    """Whether the question asks for a share in steps ("about 16%"), and the exact one is none of them."""
    exact = ", ".join(item.lineage.correct.values())
    return exact.endswith("%") and exact not in item.options.get(item.answer, item.answer)


def _model_detail(folder: Path) -> str:
    for record in read_records(folder / "probing" / "shard-00000.jsonl", PROBED_CLAIM):
        if isinstance(record, OutcomeRecord) and record.baseline is not None:
            return f"fingerprint {record.baseline.fingerprint}"
    return ""


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat
