"""A run whose models are judged, put together: the figures, the verdict, `summary.json` and `report.html`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import UNSET

from millrace.improve.arms import arm_name
from millrace.improve.judging.card_section import write_on_card
from millrace.improve.judging.cells import Cell, judge_cells
from millrace.improve.judging.figures import compare_all
from millrace.improve.judging.judged import judged_together
from millrace.improve.judging.models_atlas import write_models_atlas
from millrace.improve.judging.report import gallery_of, write_report
from millrace.improve.judging.scaling import curve, saved, sentences
from millrace.improve.judging.verdict import Verdict, decide, interval
from millrace.improve.plan import BASE, plan_hash
from millrace.records.improve import Plan, Trained
from millrace.records.results.improve import Comparison, ImproveSummary, TrainingSeconds
from millrace.run.context import RunContext


def conclude(
    run: RunContext, folder: Path, plan: Plan, trained: Sequence[Trained], test_lake: Path, cells: Sequence[Cell] = ()
) -> ImproveSummary:
    """Compute, decide, write, show; returns the stage's summary."""
    models = [f"{arm_name(one.arm)}-{one.number}" for one in trained]
    judged = judged_together(BASE, {name: folder / "probes" / name for name in (BASE, *models)}, plan.test)
    comparisons = compare_all(judged, plan)
    verdict = decide(comparisons, margin=plan.margin, level=plan.level, seeds=len(plan.seeds))
    points = curve(judged, plan) if plan.scaling else ()
    times = sorted(one.seconds for one in trained if one.seconds is not None)
    summary = ImproveSummary(
        verdict=verdict.verdict,
        targeting=verdict.targeting,
        because=(*verdict.because, *sentences(saved(points))),
        plan=plan_hash(plan),
        asked=judged.asked,
        came_in=judged.asked,
        went_out=len(judged.keys),
        dropped={"not_decided_for_every_model": judged.left_out} if judged.left_out else {},
        images=judged.images,
        models=len(models),
        records=trained[0].records if trained else 0,
        training_s=TrainingSeconds(least=times[0], most=times[-1], sum=round(sum(times), 1)) if times else None,
        rates={name: float(judged.failed(name).mean()) for name in (BASE, *models)},
        comparisons=tuple(comparisons),
        pool=plan.pool,
        scaling=points or UNSET,
        saved=saved(points) or UNSET,
        cells=judge_cells(list(cells), folder, plan, models) if cells else UNSET,
    )
    write_models_atlas(folder, judged, models, test_lake)
    gallery = gallery_of(judged, folder / "probes", models, test_lake, plan.seed)
    write_report(folder / "report.html", summary, comparisons, plan, gallery)
    write_on_card(folder.parent / "dataset", summary)
    run.show_table("improve", table(comparisons), "Failure rates on images that no model was trained on")
    run.show_text("improve-verdict", as_markdown(verdict, folder), "Does the data help?")
    run.progress.say(f"improve: {verdict.verdict} (targeting: {verdict.targeting}), report in {folder / 'report.html'}")
    return summary


def table(comparisons: Sequence[Comparison]) -> list[dict[str, str]]:
    """The comparisons as rows."""
    return [
        {
            "question": one.name,
            "arm": one.treated,
            "against": one.control,
            "failed": _percent(one.whole.treated),
            "there": _percent(one.whole.control),
            "difference": interval(one.whole),
            "as expected": {True: "yes", False: "no", None: "not known"}[one.as_expected],
        }
        for one in comparisons
    ]


def as_markdown(verdict: Verdict, folder: Path) -> str:
    """The verdict for the Prefect UI."""
    lines = [f"# The data: {verdict.verdict}; targeting: {verdict.targeting}", ""]
    return "\n".join([*lines, *(f"- {sentence}" for sentence in verdict.because), "", f"Report: `{folder / 'report.html'}`"])


def _percent(share: float | None) -> str:
    return "not measured" if share is None else f"{share:.1%}"
