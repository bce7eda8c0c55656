"""The stage `improve`: decided outcomes → arms → trained models → the same held-out images probed again → a verdict."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.improve import preflight
from millrace.improve.asking import AsksOthers
from millrace.improve.settings import ImproveSettings
from millrace.records.results.improve import ImproveSummary
from millrace.run.context import RunContext, Same
from millrace.run.stage import Forecast, Stage

if TYPE_CHECKING:
    from millrace.improve.judging.cells import Cell
    from millrace.improve.splits import Split
    from millrace.records.improve import PoolItem


@dataclass(frozen=True)
class Improve(Stage):
    """Trains the model under test on several choices of data, and judges each on images that none of them has seen."""

    config: ImproveSettings
    asks: AsksOthers

    name = "improve"
    summary_type = ImproveSummary

    def plan(self, run_dir: Path, forecast: Forecast) -> list[str]:
        """See `Stage.plan`."""
        from millrace.errors import MillraceError

        workers = min(4, os.cpu_count() or 1)
        try:
            probing = self.asks.settings(run_dir)
        except MillraceError as error:
            return [f"pool: {error}", *preflight.plan_lines(self.config, None, workers)]
        lines = [] if "probing" in forecast.stages else [f"pool: the outcomes in {run_dir / 'probing'}"]
        return lines + preflight.plan_lines(self.config, probing, workers)

    def check(self, run_dir: Path, earlier: list[str]) -> None:
        """See `Stage.check`."""
        preflight.check(self.config, run_dir, self.asks, probed_before="probing" in earlier)

    def is_short(self, summary: ImproveSummary) -> bool:
        """Whether what is required was not shown."""
        helps = summary.verdict == "helps"
        shown = {"helps": helps, "targeting": helps and summary.targeting == "helps"}
        return not shown.get(self.config.require, True)

    def run(self, run: RunContext, folder: Path) -> ImproveSummary:
        """Test images → plan → training sets → trainings → the same images asked again → figures and verdict."""
        from millrace.improve.arms import arm_name
        from millrace.improve.judging.cells import cells_of
        from millrace.improve.judging.conclusion import conclude
        from millrace.improve.plan import BASE, keep_plan, make_plan, plan_hash
        from millrace.improve.pool import read_pool
        from millrace.improve.train import begin_again, train_arm
        from millrace.improve.trainers import format_of
        from millrace.improve.training_sets import draw_all, jobs_of, rows_by_file, write_images, write_sets

        settings, root = self.config, run.folder.path
        probing = self.asks.settings(root)
        items = read_pool(root / "probing")
        test_lake = self.asks.lake(settings.test, probing, run)
        cells = cells_of(settings.test, test_lake, probing, self.asks, run)
        self._ask(run, folder, probing, {BASE: probing["baseline"]}, test_lake, cells, "asking the base")
        split = self._split(run, folder, items, test_lake, cells)
        preflight.check_size(settings, sum(len(found) >= settings.records_per_image for found in split.pool.values()))
        plan = make_plan(settings, probing, items, sorted({item.sha256 for item in split.tuning}), split.test, split.new)
        keep_plan(plan, folder / "plan.json")
        run.folder.note(self.name, plan=plan_hash(plan), plan_file=f"{self.name}/plan.json")
        run.progress.say(f"improve: the plan {plan_hash(plan)} is written down, {len(plan.test)} test images")

        format_name = format_of(settings.trainer)
        drawn = draw_all(settings, split.pool)
        jobs = jobs_of(settings, probing, folder, format_name)
        used = [*(one.item for records in drawn.values() for one in records), *split.tuning]
        rows, sets = rows_by_file(used), folder / "sets"
        with run.progress.stage("copying images", len(rows), "files") as bar:
            files, wanted = list(rows), list(rows.values())
            copied = run.map(write_images, files, wanted, Same(split.lake), Same(sets), on_done=lambda names: bar.advance())
        names = {image: name for found in copied for image, name in found.items()}
        with run.timeline.work(self.name):
            write_sets(jobs, drawn, split.tuning, format_name, names)
        begin_again(folder / "trainings")
        with run.progress.stage("training", len(jobs), "trainings") as bar:
            records = [len(drawn[job.arm, job.number]) for job in jobs]
            trained = run.map(train_arm, jobs, Same(settings.trainer), records, on_done=lambda one: bar.advance())
        models = {f"{arm_name(one.arm)}-{one.number}": one.model for one in trained}
        for model in models.values():
            self.asks.check_model(probing, model)
        self._ask(run, folder, probing, models, test_lake, cells, "asking the trained models")
        with run.timeline.work(self.name):
            return conclude(run, folder, plan, trained, test_lake, cells)

    def _ask(
        self,
        run: RunContext,
        folder: Path,
        probing: Mapping[str, Any],
        models: Mapping[str, Mapping[str, Any]],
        lake: Path,
        cells: list[Cell],
        what: str,
    ) -> None:
        """Ask each model about the test images, and about new scenes and in new words where there are any."""
        test = [("probes", probing, lake, self.config.test.images)]
        ways = [*test, *((cell.folder, cell.probing, cell.lake, cell.images) for cell in cells)]
        asked = [(name, model, *way) for way in ways for name, model in models.items()]
        with run.progress.stage(what, len(asked), "times") as bar:
            run.map(
                self.asks.function(),
                [how for _, _, _, how, _, _ in asked],
                [model for _, model, *_ in asked],
                [place for _, _, _, _, place, _ in asked],
                [images for *_, images in asked],
                [folder / where / name for name, _, where, *_ in asked],
                [run.folder.logs / "improve" / where.replace("probes", "") / name for name, _, where, *_ in asked],
                on_done=lambda summary: bar.advance(),
            )

    def _split(self, run: RunContext, folder: Path, items: list[PoolItem], test_lake: Path, cells: list[Cell]) -> Split:
        """Who is in the pool, in the tuning split and in the test; refuses what is on two sides."""
        from millrace.improve.image_marks import mark_file, marks_path, read_marks, refuse_leaks, without_leaks
        from millrace.improve.pool import lake_of
        from millrace.improve.splits import rows_asked, split_pool
        from millrace.improve.training_sets import rows_by_file

        lake = lake_of(run.folder.path / "probing")
        marks = {}
        sides = {"pool": (lake, rows_by_file(items)), "test": (test_lake, rows_asked(folder / "probes" / "base"))}
        for cell in cells:
            if cell.new_scenes:
                sides["new"] = (cell.lake, rows_asked(folder / cell.folder / "base"))
        for side, (place, rows) in sides.items():
            files = [place if place.is_file() else place / file for file in rows]
            outs = [marks_path(folder / "marks" / side, file, place) for file in files]
            with run.progress.stage(f"recognising the {side} images", len(files), "files") as bar:
                run.map(mark_file, files, list(rows.values()), Same(place), outs, on_done=lambda out: bar.advance())
            marks[side] = read_marks(outs)
        with run.timeline.work(self.name):
            given = {"test": self.config.test.path, "new": self.config.test.new and self.config.test.new.path}
            for side in sorted(marks.keys() & given.keys()):
                if given[side] is not None:
                    refuse_leaks(marks[side], marks["pool"])
                kept = without_leaks(marks[side], marks["pool"])
                if left_out := len(marks[side]) - len(kept):
                    run.progress.say(f"improve: {left_out} {side} images are nearly the same as probed ones, and are left out")
                marks[side] = kept
            return split_pool(items, marks["pool"], marks["test"], marks.get("new", []), lake, self.config)
