"""A finished synthesis run, put together: `summary.json` for machines, the report's data for people.

Reads what the run left in its folder and nothing else, so that both can be made again; memory does not grow with the run.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from millrace.llm.run_chats import ledger_of_run
from millrace.records.synthesis import QAItem
from millrace.records.synthesis_counts import Machine, RunCounts, StageSeconds, Statistics, Summary, TimeSpent
from millrace.reporting.stage_times import StageTime
from millrace.run.folder import versions
from millrace.run.ids import fraction_for
from millrace.run.journal import read_records, write_json
from millrace.synthesis.runs.assemble import STATUS_FILES
from millrace.synthesis.runs.report import Example, Hop, SynthesisReport, as_markdown, write_report
from millrace.synthesis.runs.tally import FOLDER, Tallies
from millrace.synthesis.settings import SynthesisConfig

if TYPE_CHECKING:
    from millrace.run.context import RunContext

GALLERY = 8
"""Examples in the report: one of each question kind first, then more."""

SHOWN_CHARS = 420
"""How much of an observation an example shows."""


def conclude(run: RunContext, config: SynthesisConfig) -> Summary:
    """Write the summary and the report of a run whose stage is complete, and show both where the run is watched."""
    folder = run.folder.path
    counts = run.summaries["synthesis"]
    assert isinstance(counts, Statistics)
    summary = summarise(folder, run.status, counts, run.timeline.seconds().stages["start and stop"].wall)
    data = report_data(config, folder, summary)
    write_report(data, folder / "report.html")
    run.show_text("synthesis-report", as_markdown(data, folder), "What came of the seeds")
    run.show_table("synthesis-rejections", data.rejections(), "Why candidates were rejected")
    write_json(folder / "summary.json", summary)
    run.progress.say(f"{data.kept} questions in {folder}, report in {folder / 'report.html'}")
    return summary


def summarise(folder: Path, status: str, counts: Statistics, outside_s: float) -> Summary:
    """The content of `summary.json`.

    Args:
        folder: the run's folder.
        status: `finished` or `short`.
        counts: what the stage returned, with its seconds.
        outside_s: what the start and the stop of this attempt took; a stage that an earlier one finished keeps its own time.
    """
    wall, work = counts.seconds or 0.0, counts.work_seconds or 0.0
    stages = {
        "synthesis": StageSeconds(wall=wall, work=work),
        "start and stop": StageSeconds(wall=round(outside_s, 3), work=0.0),
    }
    tally = Tallies(folder / "synthesis" / FOLDER).read()
    counted = {name: getattr(counts, name) for name in RunCounts.__struct_fields__ if name != "schema"}
    return Summary(
        **counted,
        seconds=wall,
        work_seconds=work,
        status="short" if status == "short" else "finished",
        time=TimeSpent(
            wall=round(wall + outside_s, 3),
            stages=stages,
            workers={name: round(taken, 3) for name, taken in {**tally.spans, "all": tally.seconds}.items()},
        ),
        paid=ledger_of_run(folder),
        versions=versions(),
        machine=Machine(system=platform.platform(), processor=platform.machine()),
    )


def report_data(config: SynthesisConfig, folder: Path, summary: Summary) -> SynthesisReport:
    """What the report shows.

    Args:
        config: the run's settings.
        folder: its folder.
        summary: from `summarise`.
    """
    spans = {name: taken for name, taken in summary.time.workers.items() if name != "all"}
    other = summary.time.workers.get("all", 0.0) - sum(spans.values())
    gallery = tuple(examples(folder))
    return SynthesisReport(
        environment=config.environment_mode,
        policy=_who(config),
        status="complete" if summary.status == "finished" else "short of its target",
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        seeds=msgspec.structs.asdict(summary.seeds),
        failures=summary.failures,
        candidates=summary.candidates,
        items=summary.items.by_status(),
        rejected=summary.rejected,
        kinds=summary.question_kinds,
        hops=summary.hops,
        median_hops=summary.median_hops,
        languages=summary.languages,
        seed_match=summary.seed_match,
        templates=summary.templates,
        top_templates=summary.most_common_templates,
        answers=summary.answers.different,
        top_answers=summary.answers.most_common,
        answer_limit=summary.answer_limit,
        answer_share=config.max_answer_share,
        spans=spans | ({"other": other} if other > 0 else {}),
        wall_s=summary.time.wall,
        times=tuple(StageTime(name, stage.wall, stage.work) for name, stage in summary.time.stages.items()),
        paid=tuple(ledger_of_run(folder)),
        gallery=gallery,
        reproduce=tuple(_commands(folder, gallery)),
        settings={name: str(value) for name, value in config.model_dump(mode="json").items() if value not in (None, "", [], {})},
        versions={name: version for name, version in summary.versions.items() if version},
    )


def examples(folder: Path) -> Iterator[Example]:
    """A few items, drawn by their ids: verified ones where there are any; every question kind before a second of the same."""
    for name in STATUS_FILES.values():
        path = folder / name
        drawn = _drawn(path) if path.exists() else []
        if drawn:
            for item in drawn:
                yield _example(item)
            return


def _drawn(path: Path) -> list[QAItem]:
    by_kind: dict[str | None, list[tuple[float, QAItem]]] = {}
    for item in read_records(path, QAItem):
        kept = by_kind.setdefault(item.provenance.question_kind, [])
        place = fraction_for(0, "gallery", item.qa_id)
        if len(kept) < GALLERY or place < kept[-1][0]:
            kept.append((place, item))
            kept.sort(key=lambda pair: pair[0])
            del kept[GALLERY:]
    ranked = [(rank, place, item) for kept in by_kind.values() for rank, (place, item) in enumerate(kept)]
    return [item for _, _, item in sorted(ranked, key=lambda one: one[:2])[:GALLERY]]


def _example(item: QAItem) -> Example:
    return Example(
        qa_id=item.qa_id,
        kind=item.provenance.question_kind or "",
        seed=item.metadata.seed_data[:200],
        question=item.question,
        answer=item.answer,
        language=item.language,
        hops=tuple(
            Hop(
                says=step.description or step.intent,
                tool=step.action,
                call=json.dumps(step.parameters, ensure_ascii=False),
                observation=_short(step.observation),
                value=None if step.value is None else _short(str(step.value)),
            )
            for step in item.reasoning_steps
        ),
        status=item.verification.status,
        verified_by=item.verifier.name or "",
        checks=tuple((check.name, check.passed, check.detail) for check in item.verification.checks),
    )


def _commands(folder: Path, gallery: tuple[Example, ...]) -> Iterator[str]:
    yield f"python -m flows.synthesis --config {folder / 'config.json'} --run-dir NEW_FOLDER"
    if gallery:
        yield f"python -m flows.synthesis trace {folder} {gallery[0].qa_id}"


def _who(config: SynthesisConfig) -> str:
    """Who chose the actions, in words."""
    said = {"programmatic": "a program", "chat": f"the chat model {_model_of(config)}"}
    return said.get(config.policy, f"the policy {config.policy}")


def _model_of(config: SynthesisConfig) -> str:
    return config.chat.model.model if config.chat.model is not None else config.model_name


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + " …"
