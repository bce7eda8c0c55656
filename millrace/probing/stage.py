"""The stage `probing`: images → every claim's outcome, under torchrun."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from msgspec import structs

from millrace.config import parse_config
from millrace.errors import InputError
from millrace.probing import preflight
from millrace.probing.settings import LakeSettings, ProbingConfig
from millrace.records.batches import BatchCounts
from millrace.records.summaries import ProbingSummary
from millrace.run.context import RunContext, Same
from millrace.run.counted import counted
from millrace.run.journal import read_json
from millrace.run.stage import Forecast, Stage

IMAGES_PER_SHARD = 100
"""Of the embedded lake: two seconds of drawing, so that two workers share the default lake evenly."""


@dataclass(frozen=True)
class Probing(Stage):
    """Asks a model under test claims about images, and has a judge decide what happened to each."""

    config: ProbingConfig

    name = "probing"
    summary_type = ProbingSummary
    feeds: ClassVar[tuple[str, ...]] = ("filtering", "qa", "improve")

    @property
    def hosts(self) -> int:
        """Machines of torchrun."""
        return self.config.torchrun.nnodes

    def plan(self, run_dir: Path, forecast: Forecast) -> list[str]:
        """See `Stage.plan`."""
        from millrace.probing import expected_calls as expected

        config = self.config
        if config.answers_of is not None:
            return self._plan_rejudging(forecast, config.answers_of)
        lines = preflight.plan_lines(config)
        forecast.images, forecast.failures = sum(expected.images_of(config)), expected.most_failures(config)
        forecast.failure_ids = [claim.target_failure_id for claim in config.claim_set().claims]
        forecast.calls += expected.expected_calls(config)
        forecast.calls_for_questions = lambda questions: expected.expected_questions(config, questions)
        return lines

    def check(self, run_dir: Path, earlier: list[str]) -> None:
        """See `Stage.check`."""
        if self.config.answers_of is None:
            preflight.check(self.config)
        else:
            from millrace.probing.asking_again.another_judge import check_earlier

            preflight.check_models(self.config)
            check_earlier(self.config, self.config.answers_of)

    def reach(self) -> None:
        """See `Stage.reach`."""
        preflight.reach(self.config)

    def _plan_rejudging(self, forecast: Forecast, earlier: Path) -> list[str]:
        from millrace.probing import expected_calls as expected
        from millrace.probing.asking_again.another_judge import check_earlier, earlier_summary

        preflight.check_models(self.config)
        check_earlier(self.config, earlier)
        summary = earlier_summary(earlier)
        forecast.images, forecast.failures = summary.images, summary.went_out
        forecast.failure_ids = [claim.target_failure_id for claim in self.config.claim_set().claims]
        forecast.calls += expected.expected_verdicts(self.config, summary.went_out)
        forecast.calls_for_questions = lambda questions: expected.expected_questions(self.config, questions)
        judge = self.config.judge.get("name", "?")
        return [f"answers of {earlier}: {summary.went_out:,} outcomes are judged anew by '{judge}'; the model is not asked"]

    def outdated(self, run_dir: Path) -> bool:
        """See `Stage.outdated`: more room is given to what broke off. While the stage is unfinished its ranks see to that."""
        folder = run_dir / self.name
        if not (folder / "summary.json").exists():
            return False
        from millrace.probing.ranks.reopening import concerned_units

        return any(concerned_units(folder / "work", self.config.model_dump(mode="json")))

    def run(self, run: RunContext, folder: Path) -> ProbingSummary:
        """Lake → baseline → ranks → outcomes."""
        from millrace.probing.preparation import prepare_baseline
        from millrace.probing.ranks.launch import Counts, run_ranks
        from millrace.probing.ranks.settlement import settle_outcomes

        config = self.config
        if config.answers_of is not None:
            return self._rejudge(run, folder, config.answers_of)
        lake = prepared_lake(config.lake, run)
        with run.progress.stage("training the baseline", 0, "steps") as bar:
            run.call(prepare_baseline, config.baseline, run.folder.logs, bar.update)
        self._ask_ahead(run, folder, lake)
        target = config.target_failure_count
        total, unit = (target, "failures") if target else (config.sample_size, "images")
        with run.progress.stage("probing", total, unit) as bar:

            def show(counts: Counts) -> None:
                bar.update(min(total, counts.failures if target else counts.images))

            machines = run.machines if self.hosts > 1 else None
            run.call(run_ranks, config, lake, folder, run.folder.logs, show, machines)
            summary = run.call(settle_outcomes, config, lake, folder)
            bar.note = f"{counted(summary.images, 'images')}, {counted(summary.went_out, 'claims')}"
        preflight.check_infrastructure(summary, config.max_failure_rate)
        return structs.replace(summary, target=target, lake=str(lake.absolute()))

    def _ask_ahead(self, run: RunContext, folder: Path, lake: Path) -> None:
        """Have the answers of models that are asked in batches. A stop leaves the batches under way."""
        from millrace.probing.asked_ahead import ask_ahead, asks_in_batches

        if not asks_in_batches(self.config):
            return
        with run.progress.stage("asking in batches", 0, "questions") as bar:

            def show(counts: BatchCounts) -> None:
                bar.note = counts.words()
                bar.update(counts.answered, counts.questions)

            try:
                run.call(ask_ahead, self.config, lake, folder, show)
            except BaseException:
                if bar.note:
                    run.progress.say(f"{bar.note}: they go on at the provider, and the same command takes them up again")
                raise

    def _rejudge(self, run: RunContext, folder: Path, earlier: Path) -> ProbingSummary:
        """Outcomes of an earlier run → the same, decided by this run's judge."""
        from millrace.probing.asked_ahead import asks_in_batches
        from millrace.probing.asking_again.another_judge import earlier_summary, rejudge_shard, settle_rejudged

        if asks_in_batches(self.config):
            from millrace.llm.batches.folder import forgive_below
            from millrace.llm.run_chats import chat_folder

            forgive_below(chat_folder(folder))
        before = earlier_summary(earlier)
        lake, probing = before.lake_folder, self.config.model_dump(mode="json")
        shards = [earlier / "probing" / f"shard-{number:05d}.jsonl" for number in range(before.shards)]
        with run.progress.stage("judging anew", len(shards), "shards") as bar:
            written = [folder / shard.name for shard in shards]
            run.map(rejudge_shard, shards, written, Same(lake), Same(probing), on_done=lambda lines: bar.advance())
            summary = run.call(settle_rejudged, earlier, folder, before)
            again = summary.judged_again
            if again:
                bar.note = f"{again.n:,} outcomes, {again.same:,} as before"
        preflight.check_infrastructure(summary, self.config.max_failure_rate)
        return structs.replace(summary, target=None, lake=str(lake))


def prepared_lake(settings: LakeSettings, run: RunContext) -> Path:
    """The folder of images: the user's, or the embedded one, drawn by the workers on first use."""
    if settings.path is not None:
        return settings.path
    from millrace.lake.embedded import build_shard, plan_lake

    drawing = plan_lake(images=settings.images, seed=settings.seed, rows_per_shard=IMAGES_PER_SHARD, recipe=settings.recipe)
    if drawing.missing:
        with run.progress.stage("drawing the lake", len(drawing.missing), "shards") as bar:
            run.map(build_shard, Same(drawing), drawing.missing, on_done=lambda path: bar.advance())
    return drawing.folder


class ProbingBefore(Probing):
    """The same, of the model that another is compared with."""

    name = "before"
    feeds = ("compare",)


class ProbingAfter(Probing):
    """The same, of the model that is compared."""

    name = "after"
    feeds = ("compare",)


@dataclass(frozen=True)
class AskBaseline:
    """Puts finished questions to the model under test, for the stage that writes them."""

    config: ProbingConfig | None = None
    """Of the same flow; None where the run's folder alone knows it, and it is what it was."""

    def has_more_room(self, before: Mapping[str, Any]) -> bool:
        """Whether the model may answer at greater length than with `before`, the stored config of probing."""
        if self.config is None:
            return False
        from millrace.llm.limits import gives_more_room
        from millrace.probing.baselines import baseline_settings

        return gives_more_room(baseline_settings(before["baseline"]), baseline_settings(self.config.baseline))

    def function(self) -> Callable[[Path, Path, Path, Mapping[str, Any], str], int]:
        """`ask_shard`, which workers call for each shard of questions."""
        from millrace.probing.ask import ask_shard

        return ask_shard

    def needs_gpu(self, baseline: Mapping[str, Any], device: str) -> bool:
        """Whether asking computes on a GPU of the worker."""
        from millrace.probing.ask import needs_gpu

        return needs_gpu(baseline, device)


class AskAnother:
    """Asks other models what a run asked its own, for the stage that trains and judges them.

    Args:
        config: of a probing in the same flow; None: the run's folder has it.
    """

    def __init__(self, config: ProbingConfig | None = None) -> None:
        self._config = config

    def settings(self, run_dir: Path) -> dict[str, Any]:
        """The section `probing` of the run's config.

        Raises:
            InputError: the folder has none.
        """
        if self._config is not None:
            return self._config.model_dump(mode="json")
        kept = run_dir / "config.json"
        section = read_json(kept).get("probing") if kept.exists() else None
        if section is None:
            raise InputError(f"there is no probing in {run_dir}; run flows.full or flows.probing there first")
        return parse_config(ProbingConfig, section, where=str(kept)).model_dump(mode="json")

    def check_model(self, probing: Mapping[str, Any], model: Mapping[str, Any]) -> None:
        """Raises UsageError for what is no baseline."""
        from millrace.probing.baselines import baseline_settings

        del probing
        baseline_settings(model)

    def check_way(self, wanted: Any, wordings: Mapping[str, str], probing: Mapping[str, Any]) -> None:
        """See that the images of `lake` can be had and `wordings` are sentences of the claims; raises what `preflight` does."""
        lake = _kind_of(wanted, probing)
        words = {**probing.get("wordings", {}), **wordings}
        preflight.check(ProbingConfig.model_validate({**probing, "lake": lake, "wordings": words}))

    def lake(self, wanted: Any, probing: Mapping[str, Any], run: RunContext) -> Path:
        """The folder of images to ask about: the one given, or an embedded one of the kind that was probed, or of the kind named.

        Args:
            wanted: `path`, `images`, `seed` and `recipe`, as `LakeSettings` has them.
            probing: how the run asked.
            run: draws the embedded lake.
        """
        return prepared_lake(_kind_of(wanted, probing), run)

    def function(self) -> Callable[[Mapping[str, Any], Mapping[str, Any], Path, int, Path, Path], ProbingSummary]:
        """`probe_another`, which workers call for each model."""
        from millrace.probing.asking_again.another_model import probe_another

        return probe_another


def _kind_of(wanted: Any, probing: Mapping[str, Any]) -> LakeSettings:
    """The lake wanted, of the kind that was probed where none is named."""
    kind = wanted.recipe or probing["lake"].get("recipe")
    return LakeSettings(path=wanted.path, images=wanted.images, seed=wanted.seed, recipe=kind)
