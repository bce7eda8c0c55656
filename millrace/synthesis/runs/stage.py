"""The stage `synthesis`: seeds → tool-use trajectories in an environment → questions whose answers are proven."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.errors import RunFailed, UsageError
from millrace.plugins.loading import load_plugin
from millrace.records.synthesis_counts import Statistics
from millrace.run.context import RunContext, Same
from millrace.run.journal import reopen_journal
from millrace.run.stage import Forecast, Stage
from millrace.synthesis.settings import EXPORTS, POLICIES, SynthesisConfig, warnings_about

if TYPE_CHECKING:
    from millrace.llm.settings import ModelSettings


@dataclass(frozen=True)
class Synthesis(Stage):
    """Plans the seeds' shards, works through them, and puts what came of them together."""

    config: SynthesisConfig

    name = "synthesis"
    summary_type = Statistics

    def notes(self, raw: Mapping[str, Any]) -> list[str]:
        """See `Stage.notes`."""
        return warnings_about(self.config, raw.get("available_tools"))

    def plan(self, run_dir: Path, forecast: Forecast) -> list[str]:
        """See `Stage.plan`."""
        from millrace.synthesis.runs.estimate import plan_lines, planned_calls

        self._check_plugins()
        forecast.calls += planned_calls(self.config)
        return plan_lines(self.config)

    def check(self, run_dir: Path, earlier: list[str]) -> None:
        """See `Stage.check`."""
        from millrace.synthesis.runs.shard_plan import check_readable
        from millrace.synthesis.seeds import read_seeds
        from millrace.synthesis.toolset import check_for_programs, open_environment

        try:
            check_readable(run_dir / self.name)
        except RunFailed as error:
            raise UsageError(str(error)) from error
        next(read_seeds(self.config.seeds_path, max_chars=self.config.max_seed_chars), None)
        environment = open_environment(self.config)
        try:
            if self.config.policy == "programmatic":
                check_for_programs(environment, self.config.environment_mode)
        finally:
            environment.close()
        self._check_plugins()
        if self.config.policy == "chat":
            from millrace.synthesis.chat.judging import check_judge

            check_judge(self.config)

    def _check_plugins(self) -> None:
        from millrace.llm.settings import refuse_batches

        load_plugin(POLICIES, self.config.policy, "policy")
        refuse_batches(self._models(), "synthesis")
        for name in self.config.exports:
            load_plugin(EXPORTS, name, "export")

    def reach(self) -> None:
        """See `Stage.reach`."""
        models = self._models()
        if models:
            from millrace.llm.preflight import reach_all  # brings httpx: only where there is an endpoint

            reach_all(models)

    def _models(self) -> list[ModelSettings]:
        """The chat models that the policy asks."""
        return list(load_plugin(POLICIES, self.config.policy, "policy").models_of(self.config))

    def outdated(self, run_dir: Path) -> bool:
        """See `Stage.outdated`: a schedule runs in one folder, where seeds are added; more room is given to what broke off."""
        from millrace.synthesis.runs.reopening import cut_off_shards, has_new_seeds

        return has_new_seeds(self.config, run_dir) or any(cut_off_shards(self.config, run_dir))

    def reopen(self, folder: Path) -> None:
        """See `Stage.reopen`."""
        from millrace.records.synthesis import SeedOutcome
        from millrace.synthesis.runs.reopening import broke_off, cut_off_shards

        for shard in list(cut_off_shards(self.config, folder.parent)):
            reopen_journal(shard, SeedOutcome, broke_off)

    def run(self, run: RunContext, folder: Path) -> Statistics:
        """Plan the shards → work through them → assemble. Returns the statistics."""
        from millrace.synthesis.runs.shard_plan import Plan, plan_shards
        from millrace.synthesis.runs.synthesis_run import assembled_when_short, finish_run
        from millrace.synthesis.work_shard import WORKERS

        plan: Plan = run.call(plan_shards, self.config, folder)

        def put_together() -> Statistics:
            with run.progress.stage("assembling", plan.seeds, "seeds") as bar:
                statistics: Statistics = run.call(finish_run, self.config, plan, run.folder.path)
                bar.update(plan.seeds)
                bar.note = ", ".join(f"{count} {status}" for status, count in statistics.items.by_status().items() if count)
            return statistics

        try:
            with assembled_when_short(put_together):
                self._work_through(run, plan)
        finally:
            shutil.rmtree(folder / WORKERS, ignore_errors=True)  # its files say nothing once the workers are gone
        return put_together()

    def is_short(self, summary: Statistics) -> bool:
        """Whether a target was set and not reached."""
        return self.config.target_items is not None and summary.items.verified < self.config.target_items

    def facts(self) -> dict[str, str]:
        """The hash of the seeds, so that added seeds are noticed."""
        from millrace.synthesis.runs.shard_plan import seeds_digest

        return {"seeds_sha256": seeds_digest(self.config)}

    def _work_through(self, run: RunContext, plan: Any) -> None:
        """Map the shards over the workers, again and again for those whose worker died, until all are done."""
        from millrace.synthesis.runs.live import shown_live
        from millrace.synthesis.runs.synthesis_run import MAX_ROUNDS
        from millrace.synthesis.work_shard import synthesise_shard

        launch = uuid.uuid4().hex
        show = run.live_text("synthesis-live", "Synthesis so far")
        with run.progress.stage("synthesising", plan.seeds, "seeds") as bar, shown_live(plan, bar, run.folder.path, show):
            for _ in range(MAX_ROUNDS):
                waiting = [shard for shard in plan.shards if not plan.result_of(shard).exists()]
                if not waiting:
                    return
                results = [plan.result_of(shard) for shard in waiting]
                before = plan.bytes_done()
                try:
                    with run.on_gpus(any(not model.endpoints for model in self._models())):
                        run.map(synthesise_shard, Same(self.config), waiting, results, Same(launch))
                except RunFailed as error:
                    own = error.__cause__ is None  # a shard said so itself: an endpoint is down, a journal is damaged
                    if own or plan.bytes_done() == before:
                        raise
                    run.progress.say("a worker process ended in the middle of a shard; its unfinished seeds are handed out again")
