"""The stage `training`: experiments, one after the other, measured alone and beside supervised backgrounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from millrace.plugins.loading import load_plugin
from millrace.records.training.report import TrainingSummary
from millrace.run.context import RunContext
from millrace.run.counted import counted
from millrace.run.stage import Forecast, Stage
from millrace.training.settings import TrainingConfig


@dataclass(frozen=True)
class Training(Stage):
    """Trains, measures, compares. Attempts and retries are its own; it goes on with the runs that are still to be done."""

    config: TrainingConfig

    name = "training"
    on_cluster = False
    summary_type = TrainingSummary

    def plan(self, run_dir: Path, forecast: Forecast) -> list[str]:
        """Every run; imports no torch."""
        from millrace.training.measuring.measured import preview

        self._check_energy()
        return plan_lines(preview(self.config))

    def check(self, run_dir: Path, earlier: list[str]) -> None:
        """See that every run can be planned, and that there are the energy sources that it names."""
        from millrace.training.campaign import plan_for
        from millrace.training.measuring.measured import preview

        plan_for(preview(self.config))
        self._check_energy()

    def _check_energy(self) -> None:
        from millrace.training.meter import SOURCES

        for name in self.config.energy.providers:
            load_plugin(SOURCES, name, "energy source")

    def run(self, run: RunContext, folder: Path) -> TrainingSummary:
        """See `Stage.run`."""
        from millrace.training.campaign import open_campaign, plan_for, run_experiment
        from millrace.training.measuring.measured import experiments_of
        from millrace.training.results.report import write_report
        from millrace.training.results.shown import findings_text, run_rows

        config = experiments_of(self.config, folder, run.progress.say)
        todo = plan_for(config)
        with open_campaign(config, folder, todo) as campaign, run.progress.stage("training", len(todo.runs), "runs") as bar:
            pending = campaign.pending()
            bar.update(len(todo.runs) - len(pending))
            for planned in pending:
                run.call(run_experiment, campaign, planned, run.progress.say)
                bar.advance(1)
            data = write_report(campaign, run.folder.path / "report.html")
            run.show_text("training-findings", findings_text(data), "Findings")
            run.show_table("training-runs", run_rows(data), "Runs")
            return campaign.summary()


def plan_lines(config: TrainingConfig) -> list[str]:
    """Every run with its id, its hyperparameters and its backgrounds; then the plan's notes."""
    from millrace.training.campaign import plan_for
    from millrace.training.parameters import spell

    plan = plan_for(config)
    lines = [f"{counted(len(plan.runs), 'runs')}, at most {counted(config.max_retries + 1, 'attempts')} each:"]
    for run in plan.runs:
        lines.append(f"  {run.id}  {run.title}")
        fixed = {name: value for name, value in run.hyperparameters.items() if name not in run.mutated}
        if fixed:
            lines.append(f"      fixed: {' '.join(f'{name}={spell(value)}' for name, value in sorted(fixed.items()))}")
        for background in run.backgrounds:
            values = " ".join(f"{name}={spell(value)}" for name, value in sorted(background.hyperparameters.items()))
            need = "" if background.required else ", not required"
            lines.append(f"      beside: {background.id} ({background.workload}{' ' + values if values else ''}{need})")
    return lines + [f"note: {note}" for note in plan.notes]
