"""What a finished training shows of itself: findings and runs in Prefect's UI, and the summary of the flow."""

from __future__ import annotations

from msgspec import structs

from millrace.records.summaries import RunSpent
from millrace.records.training.report import TrainingReport, TrainingRun, TrainingSummary
from millrace.training.results.tables import figure, seconds


def findings_text(data: TrainingReport) -> str:
    """The report's findings as Markdown; `data` is what `write_report` returns."""
    totals = data.totals
    head = f"{totals.ok} of {totals.runs} runs succeeded in {seconds(totals.duration_s)} of training."
    return "\n".join([head, "", *(f"- {line}" for line in data.findings)]).rstrip() + "\n"


def run_rows(data: TrainingReport) -> list[dict[str, str]]:
    """One row for each run, in words: what was trained, how it ended, what came of it and what it took."""
    slowdowns = {one.title: one.slowdown.estimate for one in data.comparisons}
    rows = []
    for run in data.runs:
        name = run.label or run.title
        metrics = ", ".join(f"{metric} {figure(value)}" for metric, value in sorted(run.metrics.items()))
        rows.append(
            {
                "run": f"{run.label} · {run.title}" if run.label else run.title,
                "result": "done" if run.ok else str(run.failure),
                "metrics": metrics or "none",
                "time": seconds(run.duration_s),
                "CPU": figure(run.cpu_s, "s"),
                "slowdown": figure(slowdowns[name]) if name in slowdowns else "",
            }
        )
    return rows


def run_summary(status: str, done: TrainingSummary, spent: RunSpent) -> TrainingRun:
    """The flow's summary.

    Args:
        status: of the run.
        done: the stage's summary.
        spent: where the run's time went.
    """
    return TrainingRun(**{**structs.asdict(done), "status": status, "seconds": spent})
