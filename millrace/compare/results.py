"""A finished comparison, put together: `summary.json` for machines, `report.html` for people."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.compare.figures import Figures
from millrace.compare.flips_atlas import write_flips_atlas
from millrace.compare.gallery import Flip, choose_flips, shown_flips
from millrace.compare.pairing import Pair, pair_outcomes
from millrace.compare.report import ReportData, write_report
from millrace.compare.runs import Side, read_side
from millrace.compare.settings import CompareSettings
from millrace.compare.work import LEFT_OUT
from millrace.records.results.compare import ComparedHow, CompareStageSummary, CompareSummary, Machine, Row
from millrace.reporting.charts import percent, points
from millrace.run.folder import versions
from millrace.run.journal import read_json, read_record, write_json

if TYPE_CHECKING:
    from millrace.compare.asked import HowAsked
    from millrace.run.context import RunContext


def finish(run: RunContext, settings: CompareSettings, how: HowAsked, sides: tuple[Side, Side]) -> CompareSummary:
    """Write summary and report of a finished comparison, and show both where the run is watched."""
    folder = run.folder.path
    stage = read_record(folder / "compare" / "summary.json", CompareStageSummary)
    summary = summarise(stage, settings, run.status)
    write_json(folder / "summary.json", summary)
    pairs = pair_outcomes(read_side(sides[0]), read_side(sides[1]), settings.claims).pairs
    data = report_data(summary, settings, how, sides, pairs)
    write_flips_atlas(folder, pairs, sides, data.labels, data.names)
    write_report(data, folder / "report.html")
    run.show_table("differences", table(data.figures), "Difference of failure rates, with intervals")
    run.show_text("report", "\n".join([f"# {data.title}", "", *(f"- {line}" for line in data.sentences)]), "What was found")
    for line in summary.says:
        run.progress.say(line)
    run.progress.say(f"report in {folder / 'report.html'}")
    return summary


def summarise(stage: CompareStageSummary, settings: CompareSettings, status: str) -> CompareSummary:
    """The content of `summary.json`: the stage's own figures, and with what they were made."""
    kept = {name: getattr(stage, name) for name in CompareSummary.__struct_fields__ if name in stage.__struct_fields__}
    return CompareSummary(
        **kept,
        status=status,
        settings=ComparedHow(**settings.model_dump(exclude={"before", "after"})),
        versions=versions(),
        machine=Machine(system=platform.platform(), processor=platform.machine()),
    )


def report_data(
    summary: CompareSummary, settings: CompareSettings, how: HowAsked, sides: tuple[Side, Side], pairs: Sequence[Pair]
) -> ReportData:
    """What the report shows, from the summary and the journals."""
    title, *sentences = summary.says
    names = how.claims(sides[0].config)
    return ReportData(
        title=title,
        verdict=summary.verdict,
        no_harm=summary.no_harm,
        sentences=tuple(sentences),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        labels=(summary.sides["before"].label, summary.sides["after"].label),
        figures=Figures(summary.whole, summary.claims, summary.factors, summary.outcomes),
        names={claim: name for claim, (name, _) in names.items()},
        asks={claim: sentence for claim, (_, sentence) in names.items()},
        flips=flips_of(settings, sides, pairs),
        flips_found=summary.flips,
        asked=summary.came_in,
        left_out=summary.dropped,
        left_out_file=f"compare/{LEFT_OUT}",
        sides=summary.sides,
        differing=summary.differing,
        settings=settings,
        versions={name: version for name, version in summary.versions.items() if version},
    )


def flips_of(settings: CompareSettings, sides: tuple[Side, Side], pairs: Sequence[Pair]) -> tuple[Flip, ...]:
    """The flips that are shown: first what got worse."""
    found: list[Flip] = []
    for kind in ("worse", "better"):
        found += shown_flips(choose_flips(pairs, kind, most=settings.flips_shown, seed=settings.seed), kind, *sides)
    return tuple(found)


def table(figures: Figures) -> list[dict[str, str | int]]:
    """The differences as rows of a table."""

    def line(name: str, row: Row) -> dict[str, str | int]:
        return {
            "what": name,
            "pairs": row.pairs,
            "before": percent(row.rate_before, 1),
            "after": percent(row.rate_after, 1),
            "difference": points(row.difference),
            "low": points(row.low),
            "high": points(row.high),
            "p (Holm)": "not tested" if row.p_holm is None else f"{row.p_holm:.4f}",
            "found": row.verdict.replace("_", " "),
        }

    claims = sorted(figures.claims.items(), key=lambda one: -(one[1].difference or 0.0))
    return [line("all", figures.whole), *(line(name, row) for name, row in claims)]


def sides_in(run_dir: Path, settings: CompareSettings) -> tuple[Side, Side]:
    """The two sides of the comparison in a run's folder, also of models that were probed in it."""
    from millrace.compare.runs import run_side

    config = read_json(run_dir / "config.json")
    found = [
        run_side(name, chosen.run) if chosen.run is not None else Side(name, f"the model '{name}'", run_dir / name, config[name])
        for name, chosen in (("before", settings.before), ("after", settings.after))
    ]
    return found[0], found[1]
