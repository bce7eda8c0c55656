"""The stage `compare`: the outcomes of two models → what got better, what got worse, and how surely."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millrace.compare.asked import HowAsked
from millrace.compare.runs import Side, run_side
from millrace.compare.settings import CompareSettings, SideSettings
from millrace.errors import InputError, UsageError
from millrace.records.results.compare import CompareStageSummary
from millrace.run.context import RunContext
from millrace.run.journal import read_json, read_record
from millrace.run.stage import Forecast, Stage

SIDES = ("before", "after")
"""Of the two models; a model that has no run yet is probed into the folder of this name."""

HOW = "name two finished runs (millrace compare RUN_A RUN_B), or give compare.{side} a `run` or a `baseline`"


@dataclass(frozen=True)
class Compare(Stage):
    """Pairs the outcomes of two models and computes how they differ."""

    config: CompareSettings
    how: HowAsked
    asked: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The sides that are probed in this run → how, as `config.json` keeps it."""

    name = "compare"
    summary_type = CompareStageSummary
    on_cluster = False

    def plan(self, run_dir: Path, forecast: Forecast) -> list[str]:
        """See `Stage.plan`."""
        lines = []
        for name in SIDES:
            run = self._settings(name).run
            lines.append(f"{name}: " + ("probed in this run" if name in self.asked else f"{run or 'no run named yet'}"))
        return lines + self.power(forecast.images)

    def power(self, planned_images: int | None) -> list[str]:
        """How many images the comparison takes, a line each; empty while no model is named.

        Args:
            planned_images: of the models that are probed in this run; None: not known.
        """
        from millrace.compare.work import power_lines

        found = [side for name in SIDES if (side := self._existing(name)) is not None]
        configs = [side.config for side in found] + list(self.asked.values())
        if not configs:
            return []
        images = [planned_images] * bool(self.asked) + [side.summary.images for side in found]
        claims = self.config.claims or tuple(self.how.claims(configs[0]))
        return power_lines(self.config, max(1, len(claims)), min((one for one in images if one is not None), default=None))

    def check(self, run_dir: Path, earlier: list[str]) -> None:
        """See `Stage.check`. Two runs that exist are paired here already, so that nothing is written when they don't match."""
        from millrace.compare.matching import check_claims, check_judge, matched

        self._check_folder(run_dir)
        for name in SIDES:
            if self._settings(name).run is None and name not in self.asked:
                raise UsageError(f"there is no model '{name}' to compare: {HOW.format(side=name)}")
        if any(one.get("target_failure_count") is not None for one in self.asked.values()):
            raise UsageError(
                "probing.target_failure_count ends each model's probing elsewhere; leave it empty and set probing.sample_size"
            )
        before, after = (self._side(name, run_dir) for name in SIDES)
        if before.folder.resolve() == after.folder.resolve():
            raise UsageError(f"{before.shown} is given twice; a run can't be compared with itself")
        if self.asked:
            check_judge(before, after, self.how)
            self._check_claim_set(before, after)
            return
        check_claims(matched(before, after, self.how, self.config.claims), before, after)

    def outdated(self, run_dir: Path) -> bool:
        """See `Stage.outdated`: one of the two was probed again since it was compared."""
        kept = run_dir / self.name / "summary.json"
        if not kept.exists():
            return False
        compared = read_record(kept, CompareStageSummary).sides
        try:
            return any(self._side(name, run_dir).sha256() != compared[name].sha256 for name in SIDES)
        except (InputError, KeyError):  # a run that is gone, or no model named: what was found stays what it was
            return False

    def run(self, run: RunContext, folder: Path) -> CompareStageSummary:
        """Read → pair → compute."""
        from millrace.compare.work import compare_sides

        before, after = (self._side(name, run.folder.path) for name in SIDES)
        with run.progress.stage("comparing", 3, "steps") as bar:
            summary = run.call(compare_sides, before, after, self.config, self.how, folder, bar.update)
            bar.note = f"{summary.went_out:,} pairs of {summary.images:,} images"
        return summary

    def is_short(self, summary: CompareStageSummary) -> bool:
        """Whether something was required and not shown."""
        require = self.config.require
        return (require == "better" and summary.whole.verdict != "better") or (require == "no_harm" and not summary.no_harm)

    def _check_folder(self, run_dir: Path) -> None:
        """See that the folder is no other flow's, whose report and summary would be written over."""
        if not (run_dir / "config.json").exists():
            return
        others = sorted(set(read_json(run_dir / "config.json")) - {self.section, *SIDES})
        if others:
            raise UsageError(f"{run_dir} holds a run of {', '.join(others)}; choose another --run-dir for the comparison")

    def _settings(self, name: str) -> SideSettings:
        return self.config.before if name == "before" else self.config.after

    def _existing(self, name: str) -> Side | None:
        """The run that a side is; None when it is probed here, or there is none.

        Raises:
            InputError: what is named is no finished run.
        """
        path = self._settings(name).run
        return None if path is None else run_side(name, path)

    def _side(self, name: str, run_dir: Path) -> Side:
        return self._existing(name) or Side(name, f"the model '{name}'", run_dir / name, self.asked[name])

    def _check_claim_set(self, before: Side, after: Side) -> None:
        """Before a model is asked: it will be asked what the run on the other side was."""
        if self.how.claim_set(before.config) != self.how.claim_set(after.config):
            sets = " and ".join(f"'{side.config.get('claims')}'" for side in (before, after))
            raise InputError(
                f"{before.shown} and {after.shown} would be compared on other claim sets, {sets}; set probing.claims to the same"
            )
