"""Training experiments: hyperparameter mutations, a foreground measured beside supervised backgrounds, honest energy figures.

python -m flows.training --config configs/training/parallel_example.yaml --run-dir runs/mine
python -m flows.training doctor        what this host can measure and contain, and how to get more
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from millrace.training.settings import TrainingConfig


def sections(config: TrainingConfig) -> Mapping[str, BaseModel]:
    """The parts of a run folder that this flow answers for."""
    return {"training": config}


def plan(config: TrainingConfig, run_dir: Path) -> list[str]:
    """What `--dry-run` prints: every run."""
    from millrace.training.dry_run import plan_lines

    return [f"run folder: {run_dir}", *plan_lines(config)]


def check(config: TrainingConfig, run_dir: Path) -> None:
    """See that every run can be planned, before anything is started."""
    from millrace.training.campaign import plan_for

    plan_for(config)


if __name__ == "__main__":
    if sys.argv[1:2] == ["doctor"]:
        from millrace.training.doctor import main as doctor

        sys.exit(doctor(sys.argv[2:]))
    from millrace.cli import main

    sys.exit(main("training", TrainingConfig, doc=__doc__, sections=sections, plan=plan, check=check))

from prefect import flow

from millrace.orchestration.clusters.cluster import ClusterSettings
from millrace.orchestration.run_dir import RunDir
from millrace.orchestration.session import Session, open_session
from millrace.run.journal import write_json
from millrace.training.campaign import open_campaign, plan_for
from millrace.training.results.report import write_report
from tasks import training as steps


@flow(name="training", flow_run_name="training in {run_dir}")
def training(config: TrainingConfig = TrainingConfig(), run_dir: RunDir = Path("runs/training")) -> dict[str, Any]:
    """Train, measure, compare.

    Args:
        config: the settings.
        run_dir: the run's folder: new, or one to be taken up again.
    """
    todo = plan_for(config)
    with open_session("training", sections(config), run_dir, ClusterSettings()) as run:
        folder = run.folder.stage("training")
        with open_campaign(config, folder, todo) as campaign, run.progress.stage("training", len(todo.runs), "runs") as stage:
            pending = campaign.pending()
            stage.update(len(todo.runs) - len(pending))
            for planned in pending:
                with run.timeline.work("training"):
                    steps.run_experiment(campaign, planned, run.progress.say)
                stage.advance(1)
            write_report(campaign, run.folder.path / "report.html")
            summary = campaign.summary()
        return finish(run, summary)


def finish(run: Session, summary: dict[str, Any]) -> dict[str, Any]:
    """Write down how the run ended. Some failed trainings are a run short of its target."""
    status = "short" if summary["failed"] else "finished"
    summary = {"status": status, **summary, "seconds": run.timeline.seconds()}
    write_json(run.folder.path / "summary.json", summary)
    run.folder.finish("training", status)
    return summary
