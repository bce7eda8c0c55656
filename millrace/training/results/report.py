"""RUN_DIR/report.html: what the trainings cost and what they gained, in one file. Every figure says what kind it is."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from millrace.records.training import Setting
from millrace.run.journal import read_record, write_atomic, write_json
from millrace.training.campaign import Campaign
from millrace.training.parameters import spell
from millrace.training.results import tables
from millrace.training.results.attempt_files import all_attempts, final_attempts
from millrace.training.results.findings import TERMS, findings, higher_is_better, labels_of, main_metric
from millrace.training.results.plots import Curve, Point, curves, pareto, scatter
from millrace.training.results.tables import UNKNOWN, brief, figure, percent, seconds


def write_report(campaign: Campaign, path: Path) -> dict[str, Any]:
    """Write the page to `path` and its data beside it (`report.json`); returns the data."""
    data = report_data(campaign.config.experiment_name, campaign.config.description, campaign.folder, campaign.plan.notes)
    write_json(path.with_suffix(".json"), data)
    write_atomic(path, render(data))
    return data


def report_data(title: str, description: str, folder: Path, notes: Sequence[str]) -> dict[str, Any]:
    """Everything the page shows, as plain data."""
    attempts = all_attempts(folder)
    final = final_attempts(attempts)
    good = [record for record in final if record["ok"]]
    parallel = [record for record in good if record.get("comparison")]
    labels = labels_of(final)
    return {
        "title": title,
        "description": description,
        "setting": msgspec.to_builtins(read_record(folder / "setting.json", Setting)),
        "notes": list(notes),
        "runs": [_run(record, labels[record["id"]]) for record in final],
        "comparisons": [_comparison(record, labels[record["id"]]) for record in parallel],
        "failures": [_failure(record) for record in attempts if not record["ok"]],
        "groups": [_group(name, [r for r in good if _group_name(r) == name]) for name in dict.fromkeys(map(_group_name, good))],
        "energy": [
            reading | {"run": labels[record["id"]] or brief(record["title"])}
            for record in attempts
            for reading in record.get("energy") or []
        ],
        "findings": findings(final, labels),
        "totals": {
            "runs": len(final),
            "ok": len(good),
            "attempts": len(attempts),
            "cpu_s": _sum(record.get("cpu_s") for record in attempts),
            "duration_s": _sum(record.get("duration_s") for record in attempts),
        },
    }


def render(data: dict[str, Any]) -> str:
    """The page. It needs no script, no font and no request; all text is escaped."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    environment.filters.update(figure=figure, seconds=seconds, percent=percent)
    page = environment.get_template("report_template.html.j2")
    charts = {run["id"]: _curves(run) for run in data["runs"] if run["epochs"]}
    plots = {group["name"]: _plots(group) for group in data["groups"]}
    return page.render(data=data, curves=charts, plots=plots, tables=tables, unknown=UNKNOWN, terms=TERMS)


def _run(record: dict[str, Any], label: str) -> dict[str, Any]:
    metric = main_metric(record)
    return {
        "id": record["id"],
        "label": label,
        "title": brief(record["title"]),
        "workload": record["workload"],
        "mode": record["mode"],
        "ok": record["ok"],
        "attempt": record["attempt"],
        "failure": record["failure"],
        "hyperparameters": {name: spell(value) for name, value in sorted(record["hyperparameters"].items())},
        "metrics": record.get("metrics") or {},
        "main_metric": metric,
        "duration_s": record.get("duration_s"),
        "cpu_s": record.get("cpu_s"),
        "peak_bytes": record.get("peak_bytes"),
        "epochs": record.get("epochs") or [],
        "backgrounds": record.get("backgrounds") or [],
        "host": record.get("host") or {},
        "containment": record.get("containment") or {},
        "stop_backgrounds_s": record.get("stop_backgrounds_s"),
    }


def _comparison(record: dict[str, Any], label: str) -> dict[str, Any]:
    overlaps = [one["overlap_fraction"] for one in record["backgrounds"] if one["overlap_fraction"] is not None]
    differences = record["comparison"].get("metric_difference") or {}
    shown = dict.fromkeys(filter(None, (main_metric(record), "loss")))
    own = {
        "title": label or brief(record["title"]),
        "overlap": statistics.fmean(overlaps) if overlaps else None,
        "metric_difference": {name: differences[name] for name in shown if name in differences},
    }
    return {**record["comparison"], **own}


def _failure(record: dict[str, Any]) -> dict[str, Any]:
    names = ("title", "attempt", "failure", "failure_detail", "duration_s", "energy_j", "id")
    return {name: record.get(name) for name in names} | {"title": brief(record["title"])}


def _group_name(record: dict[str, Any]) -> str:
    return f"{record['workload']}{' beside backgrounds' if record['mode'] == 'parallel' else ''}"


def _group(name: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    """Runs of one workload: what they cost and what came of it. The cost is measured energy if all have it, else CPU time."""
    metric = main_metric(records[0])
    energies = [(record.get("energy_j") or {}).get("measured") for record in records]
    by_energy = all(value is not None for value in energies)
    costs = energies if by_energy else [record.get("cpu_s") for record in records]
    rows = [
        {
            "title": brief(record["title"]),
            "hyperparameters": record["hyperparameters"],
            "mutated": record["mutated"],
            "cost": cost,
            "quality": record["metrics"].get(metric) if metric else None,
        }
        for record, cost in zip(records, costs, strict=True)
    ]
    known = [row for row in rows if row["cost"] is not None and row["quality"] is not None]
    front = pareto([(row["cost"], row["quality"]) for row in known], higher_is_better=higher_is_better(metric or ""))
    for row, best in zip(known, front, strict=True):
        row["front"] = best
    return {
        "name": name,
        "metric": metric,
        "cost": "measured energy, J" if by_energy else "CPU time, s",
        "cost_kind": "measured" if by_energy else "cpu_time",
        "rows": rows,
    }


def _curves(run: dict[str, Any]) -> list[Markup]:
    epochs = run["epochs"]
    bands = [(epoch["n"] - 0.5, epoch["n"] + 0.5) for epoch in epochs if epoch["load"] == "shared"]
    drawn = []
    names = ["loss", *([run["main_metric"]] if run["main_metric"] else []), "wall_s"]
    for name in names:
        points = [(float(e["n"]), float(v)) for e in epochs if (v := e.get(name, e["metrics"].get(name))) is not None]
        if len(points) > 1:
            label = "seconds of an epoch" if name == "wall_s" else name.replace("_", " ")
            drawn.append(curves([Curve(name, points)], "epoch", label, bands))
    return drawn


def _plots(group: dict[str, Any]) -> list[Markup]:
    rows, metric = group["rows"], group["metric"]
    drawn: list[Markup] = []
    if metric is None or len(rows) < 2:
        return drawn
    known = [row for row in rows if row["cost"] is not None and row["quality"] is not None]
    dots = [Point(row["cost"], row["quality"], row["title"], row.get("front", False)) for row in known]
    drawn.append(scatter(dots, group["cost"], metric.replace("_", " ")))
    for name in sorted({name for row in rows for name in row["mutated"]}):
        for figure_name, label in (("quality", metric.replace("_", " ")), ("cost", group["cost"])):
            points = [
                Point(float(row["hyperparameters"][name]), row[figure_name], row["title"])
                for row in rows
                if isinstance(row["hyperparameters"].get(name), (int, float)) and row[figure_name] is not None
            ]
            values = [point.x for point in points]
            spread = bool(values) and min(values) > 0 and max(values) / min(values) > 20
            drawn.append(scatter(points, name.replace("_", " "), label, log_x=spread))
    return drawn


def _sum(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
