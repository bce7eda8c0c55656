"""RUN_DIR/report.html: what the trainings cost and what they gained, in one file. Every figure says what kind it is."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from millrace.records.training.attempt import AttemptRecord, known
from millrace.records.training.comparison import Comparison, Epoch
from millrace.records.training.energy import EnergyReading
from millrace.records.training.events import Number
from millrace.records.training.machine import Setting
from millrace.records.training.report import (
    GroupedRun,
    Nothing,
    ReportedComparison,
    ReportedEnergy,
    ReportedFailure,
    ReportedRun,
    RunGroup,
    Totals,
    TrainingReport,
)
from millrace.run.journal import read_record, write_atomic, write_json
from millrace.training.campaign import Campaign
from millrace.training.parameters import spell
from millrace.training.results import tables
from millrace.training.results.attempt_files import all_attempts, final_attempts
from millrace.training.results.colocation_card import colocation_cards
from millrace.training.results.findings import TERMS, findings, higher_is_better, labels_of, main_metric
from millrace.training.results.plots import Curve, Point, curves, pareto, scatter
from millrace.training.results.tables import UNKNOWN, brief, figure, percent, seconds


def write_report(campaign: Campaign, path: Path) -> TrainingReport:
    """Write the page to `path` and its data beside it (`report.json`); returns the data."""
    data = report_data(campaign.config.experiment_name, campaign.config.description, campaign.folder, campaign.plan.notes)
    write_json(path.with_suffix(".json"), data)
    write_atomic(path, render(data))
    return data


def report_data(title: str, description: str, folder: Path, notes: Sequence[str]) -> TrainingReport:
    """Everything that the page shows."""
    attempts = all_attempts(folder)
    final = final_attempts(attempts)
    good = [record for record in final if record.ok]
    labels = labels_of(final)
    return TrainingReport(
        title=title,
        description=description,
        setting=read_record(folder / "setting.json", Setting),
        notes=list(notes),
        runs=[_run(record, labels[record.id]) for record in final],
        comparisons=[_comparison(record, record.comparison, labels[record.id]) for record in good if record.comparison],
        failures=[_failure(record) for record in attempts if not record.ok],
        groups=[_group(name, [r for r in good if _group_name(r) == name]) for name in dict.fromkeys(map(_group_name, good))],
        energy=[
            _energy(reading, labels[record.id] or brief(record.title)) for record in attempts for reading in record.energy or []
        ],
        findings=findings(final, labels),
        totals=Totals(
            runs=len(final),
            ok=len(good),
            attempts=len(attempts),
            cpu_s=_sum(known(record.cpu_s) for record in attempts),
            duration_s=_sum(known(record.duration_s) for record in attempts),
        ),
        colocation=colocation_cards(final),
    )


def render(data: TrainingReport) -> str:
    """The page. It needs no script, no font and no request; all text is escaped."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    environment.filters.update(figure=figure, seconds=seconds, percent=percent)
    page = environment.get_template("report_template.html.j2")
    charts = {run.id: _curves(run) for run in data.runs if run.epochs}
    plots = {group.name: _plots(group) for group in data.groups}
    machine = msgspec.structs.asdict(data.setting.machine)
    return page.render(data=data, curves=charts, plots=plots, tables=tables, machine=machine, unknown=UNKNOWN, terms=TERMS)


def _run(record: AttemptRecord, label: str) -> ReportedRun:
    return ReportedRun(
        id=record.id,
        label=label,
        title=brief(record.title),
        workload=record.workload,
        mode=record.mode,
        ok=record.ok,
        attempt=record.attempt,
        failure=record.failure,
        hyperparameters={name: spell(value) for name, value in sorted(record.hyperparameters.items())},
        metrics=record.metrics or {},
        main_metric=main_metric(record),
        duration_s=known(record.duration_s),
        cpu_s=known(record.cpu_s),
        peak_bytes=known(record.peak_bytes),
        epochs=record.epochs or [],
        backgrounds=record.backgrounds or [],
        host=record.host or Nothing(),
        containment=record.containment or Nothing(),
        stop_backgrounds_s=known(record.stop_backgrounds_s),
    )


def _comparison(record: AttemptRecord, found: Comparison, label: str) -> ReportedComparison:
    overlaps = [one.overlap_fraction for one in record.backgrounds or [] if one.overlap_fraction is not None]
    shown = dict.fromkeys(filter(None, (main_metric(record), "loss")))
    fields = msgspec.structs.asdict(found) | {
        "metric_difference": {name: found.metric_difference[name] for name in shown if name in found.metric_difference}
    }
    return ReportedComparison(
        **fields, title=label or brief(record.title), overlap=statistics.fmean(overlaps) if overlaps else None
    )


def _failure(record: AttemptRecord) -> ReportedFailure:
    return ReportedFailure(
        title=brief(record.title),
        attempt=record.attempt,
        failure=record.failure,
        failure_detail=record.failure_detail,
        duration_s=known(record.duration_s),
        energy_j=known(record.energy_j),
        id=record.id,
    )


def _energy(reading: EnergyReading, run: str) -> ReportedEnergy:
    return ReportedEnergy(**msgspec.structs.asdict(reading), run=run)


def _group_name(record: AttemptRecord) -> str:
    return f"{record.workload}{' beside backgrounds' if record.mode == 'parallel' else ''}"


def _group(name: str, records: list[AttemptRecord]) -> RunGroup:
    """Runs of one workload: what they cost and what came of it. The cost is measured energy if all have it, else CPU time."""
    metric = main_metric(records[0])
    energies = [(record.energy_j or {}).get("measured") for record in records]
    by_energy = all(value is not None for value in energies)
    costs = energies if by_energy else [known(record.cpu_s) for record in records]
    qualities = [(record.metrics or {}).get(metric) if metric else None for record in records]
    comparable = [
        (cost, quality) for cost, quality in zip(costs, qualities, strict=True) if cost is not None and quality is not None
    ]
    front = iter(pareto(comparable, higher_is_better=higher_is_better(metric or "")))
    rows = [
        GroupedRun(
            title=brief(record.title),
            hyperparameters=record.hyperparameters,
            mutated=record.mutated,
            cost=cost,
            quality=quality,
            front=msgspec.UNSET if cost is None or quality is None else next(front),
        )
        for record, cost, quality in zip(records, costs, qualities, strict=True)
    ]
    return RunGroup(
        name=name,
        metric=metric,
        cost="measured energy, J" if by_energy else "CPU time, s",
        cost_kind="measured" if by_energy else "cpu_time",
        rows=rows,
    )


def _curves(run: ReportedRun) -> list[Markup]:
    bands = [(epoch.n - 0.5, epoch.n + 0.5) for epoch in run.epochs if epoch.load == "shared"]
    drawn = []
    names = ["loss", *([run.main_metric] if run.main_metric else []), "wall_s"]
    for name in names:
        points = [(float(epoch.n), float(value)) for epoch in run.epochs if (value := _of_epoch(epoch, name)) is not None]
        if len(points) > 1:
            label = "seconds of an epoch" if name == "wall_s" else name.replace("_", " ")
            drawn.append(curves([Curve(name, points)], "epoch", label, bands))
    return drawn


def _of_epoch(epoch: Epoch, name: str) -> Number | None:
    return epoch.loss if name == "loss" else epoch.wall_s if name == "wall_s" else epoch.metrics.get(name)


def _plots(group: RunGroup) -> list[Markup]:
    rows, metric = group.rows, group.metric
    drawn: list[Markup] = []
    if metric is None or len(rows) < 2:
        return drawn
    quality = metric.replace("_", " ")
    dots = [
        Point(row.cost, row.quality, row.title, bool(row.front))
        for row in rows
        if row.cost is not None and row.quality is not None
    ]
    drawn.append(scatter(dots, group.cost, quality))
    for name in sorted({name for row in rows for name in row.mutated}):
        for label, values in ((quality, [row.quality for row in rows]), (group.cost, [row.cost for row in rows])):
            points = [
                Point(float(x), y, row.title)
                for row, y in zip(rows, values, strict=True)
                if isinstance(x := row.hyperparameters.get(name), (int, float)) and y is not None
            ]
            known_x = [point.x for point in points]
            spread = bool(known_x) and min(known_x) > 0 and max(known_x) / min(known_x) > 20
            drawn.append(scatter(points, name.replace("_", " "), label, log_x=spread))
    return drawn


def _sum(values: Iterable[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return sum(numbers) if numbers else None
