"""The stage `qa`: failures → questions, answers, distractors, checks → a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from millrace.errors import InputError
from millrace.llm.settings import runs_here
from millrace.qa import preflight
from millrace.qa.settings import QaSettings
from millrace.qa.writers import writer_settings
from millrace.records.summaries import BaselineCount, BlindGuess, DatasetCount, FilteringSummary, ProbingSummary, QaSummary
from millrace.run.context import RunContext, Same
from millrace.run.folder import stored_config
from millrace.run.journal import read_json, read_record
from millrace.run.stage import Forecast, Stage

if TYPE_CHECKING:
    from millrace.qa.dataset.dataset_card import CardFacts

AskShard = Callable[[Path, Path, Path, Mapping[str, Any], str], int]
"""(questions, answers to write, lake, the baseline's config, device) → how many were asked."""


class AsksBaseline(Protocol):
    """How finished questions are put to the model under test. Probing owns the model; a flow joins the two."""

    def function(self) -> AskShard:
        """What is mapped over shards of questions."""

    def needs_gpu(self, baseline: Mapping[str, Any], device: str) -> bool:
        """Whether asking computes on a GPU of the worker."""

    def has_more_room(self, before: Mapping[str, Any]) -> bool:
        """Whether the model may answer at greater length than with `before`, the stored config of probing."""


@dataclass(frozen=True)
class WriteQuestions(Stage):
    """Writes questions about selected failures, answers and checks them, and leaves a dataset.

    Each shard goes through four steps: what its failures offer is surveyed, questions are written, the baseline answers them,
    every check is made. Then the set as a whole is settled.
    """

    config: QaSettings
    baseline: AsksBaseline

    name = "qa"
    summary_type = QaSummary

    def plan(self, run_dir: Path, forecast: Forecast) -> list[str]:
        """See `Stage.plan`."""
        from millrace.qa.expected_calls import expected_calls

        lines = preflight.plan_lines(self.config)
        selected = forecast.selected
        if "filtering" not in forecast.stages:
            lines.insert(0, f"failures: {run_dir / 'filtering'}")
            kept = run_dir / "filtering" / "summary.json"
            selected = read_record(kept, FilteringSummary).went_out if kept.exists() else None
        if selected is not None:
            forecast.calls += expected_calls(self.config, selected)
            forecast.calls += forecast.calls_for_questions(selected * self.config.items_per_failure)
        return lines

    def check(self, run_dir: Path, earlier: list[str]) -> None:
        """See `Stage.check`."""
        preflight.check(self.config)
        selected = run_dir / "filtering"
        if "filtering" not in earlier and not (selected / "summary.json").exists():
            raise InputError(f"there are no selected failures in {selected}; run flows.filtering there first")

    def reach(self) -> None:
        """See `Stage.reach`."""
        preflight.reach(self.config)

    def outdated(self, run_dir: Path) -> bool:
        """See `Stage.outdated`: more room is given to what broke off."""
        drafts, answers = self._cut_off(run_dir)
        return any(drafts) or any(answers)

    def reopen(self, folder: Path) -> None:
        """See `Stage.reopen`: the shards that it concerns are written, or only asked, anew."""
        from millrace.qa.reopening import forget_answers, forget_drafts

        drafts, answers = map(list, self._cut_off(folder.parent))
        for shard in answers:
            forget_answers(folder, shard)
        for shard in drafts:
            forget_drafts(folder, shard)

    def _cut_off(self, run_dir: Path) -> tuple[Iterable[Path], Iterable[Path]]:
        """The shards in which a draft, and those in which an answer of the baseline, broke off at a limit that is higher now."""
        folder = run_dir / self.name
        stored, probed = stored_config(run_dir, self.name), stored_config(run_dir, "probing")
        if not stored or not probed or not folder.is_dir():
            return (), ()
        from millrace.qa.reopening import cut_off_answers, cut_off_drafts

        answers = cut_off_answers(folder) if self.baseline.has_more_room(probed) else ()
        return cut_off_drafts(folder, stored, self.config), answers

    def run(self, run: RunContext, folder: Path) -> QaSummary:
        """Survey → write → ask the baseline → check → settle → dataset."""
        from millrace.lake.annotations import kind_named_in
        from millrace.qa.checking.check_shards import check_shard
        from millrace.qa.checking.whole_set import settle
        from millrace.qa.dataset.write_dataset import write_dataset
        from millrace.qa.dataset.write_exports import write_exports
        from millrace.qa.writing.write_shards import check_yield, plan_questions, survey_shard, write_shard

        settings, root = self.config, run.folder.path
        probed = read_record(root / "probing" / "summary.json", ProbingSummary)
        model, lake = read_json(root / "config.json")["probing"], probed.lake_folder
        selected = sorted((root / "filtering").glob("shard-*.jsonl"))
        written, asked, checked = ([folder / step / shard.name for shard in selected] for step in ("written", "asked", "checked"))
        refused = [folder / "rejected" / shard.name for shard in selected]
        the_lake, the_settings, kind = Same(lake), Same(settings), Same(kind_named_in(model))

        with run.progress.stage("surveying", len(selected), "shards") as bar:
            surveys = run.map(survey_shard, selected, the_lake, the_settings, kind, on_done=lambda survey: bar.advance())
            plan = Same(run.call(plan_questions, surveys, settings))
        to_write = read_record(root / "filtering" / "summary.json", FilteringSummary).went_out
        here = runs_here(writer_settings(settings.writer))
        with run.progress.stage("writing", to_write, "failures") as bar, run.on_gpus(here):
            arguments = (selected, written, the_lake, the_settings, plan, kind)
            drafts = run.map(write_shard, *arguments, on_done=lambda report: bar.advance(report.seen))
        check_yield(drafts, settings)
        baseline, device = model["baseline"], model["torchrun"]["device"]
        questions = sum(draft.kept for draft in drafts)
        with (
            run.progress.stage("asking the baseline", questions, "questions") as bar,
            run.on_gpus(self.baseline.needs_gpu(baseline, device)),
        ):
            ask_shard = self.baseline.function()
            run.map(ask_shard, written, asked, the_lake, Same(baseline), Same(device), on_done=bar.advance)
        with run.progress.stage("checking", sum(draft.seen for draft in drafts), "questions") as bar:
            files = (written, asked, checked, refused)
            reports = run.map(check_shard, *files, the_lake, the_settings, kind, on_done=lambda report: bar.advance(report.seen))
        with run.progress.stage("writing the dataset", 0, "rows") as bar:
            settlement = run.call(settle, checked, folder, folder / "rejected" / "settled.jsonl", settings)
            facts = card_facts(root, probed, settlement.blind, settlement.moved)
            rejected = folder / "rejected" / "dataset.jsonl"
            dataset = run.call(write_dataset, settlement.shards, root / "dataset", rejected, lake, settings, facts)
            exported = run.call(write_exports, settlement.shards, root / "exports", lake, settings)
            bar.update(dataset.rows, dataset.rows)
        by_split: Counter[str] = Counter()
        for splits in dataset.splits.values():
            by_split.update(splits)
        dropped: Counter[str] = Counter()
        for part in (*(report.dropped for report in reports), settlement.dropped, dataset.dropped):
            dropped.update(part)
        return QaSummary(
            came_in=sum(report.seen for report in reports),
            went_out=dataset.rows,
            dropped=dict(sorted(dropped.items())),
            dataset=DatasetCount(rows=dataset.rows, splits=dict(by_split), images=dataset.images),
            verification={status: sum(splits.values()) for status, splits in dataset.splits.items()},
            question_types=dataset.question_types,
            pipelines=dataset.pipelines,
            baseline=BaselineCount(failures=dataset.baseline.failures, n=dataset.baseline.n),
            blind=settlement.blind,
            positions=dataset.answers,
            exports=exported,
        )


def card_facts(root: Path, probed: ProbingSummary, blind: dict[str, BlindGuess], moved: int) -> CardFacts:
    """What the dataset's card tells of the stages before.

    Args:
        root: the run's folder.
        probed: the summary of probing.
        blind: what words alone guess, see checking/text_only_baseline.py.
        moved: right options that were moved to another letter.
    """
    from millrace.qa.dataset.dataset_card import CardFacts
    from millrace.reporting.intervals import rate_of
    from millrace.run.folder import versions

    config = read_json(root / "config.json")["probing"]
    return CardFacts(
        failure_rates={claim: rate_of(outcomes).summary() for claim, outcomes in probed.claims.items()},
        baseline=config["baseline"].get("name", "embedded"),
        lake="embedded digit scenes" if config["lake"]["path"] is None else str(probed.lake_folder),
        funnel={"probing": probed, "filtering": read_record(root / "filtering" / "summary.json", FilteringSummary)},
        blind=blind,
        moved=moved,
        versions=versions(),
    )
