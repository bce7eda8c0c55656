"""Training experiments: hyperparameter mutations, a foreground measured beside supervised backgrounds, and energy.

python -m flows.training --config configs/training/parallel_example.yaml --run-dir runs/mine
python -m flows.training doctor        what this host can measure and contain, and how to get more
"""

from __future__ import annotations

from millrace.orchestration.flow import flow
from millrace.records.training.report import TrainingRun, TrainingSummary
from millrace.run.cluster_settings import ClusterSettings
from millrace.run.context import RunContext
from millrace.run.journal import write_json
from millrace.run.stage import Stage
from millrace.training.doctor import main as doctor
from millrace.training.results.shown import run_summary
from millrace.training.settings import TrainingConfig
from millrace.training.stage import Training


def stages(config: TrainingConfig) -> list[Stage]:
    """The one stage."""
    return [Training(config)]


def cluster(config: TrainingConfig) -> ClusterSettings | None:
    """It maps no shards."""
    return ClusterSettings(class_path=config.cluster) if config.cluster else None


OFTEN = (
    "measure",
    "runs_per_config",
    "timeout_s",
    "max_retries",
)
"""What people change from run to run: the run form shows these."""


@flow(TrainingConfig, stages, cluster=cluster, often=OFTEN, subcommands={"doctor": doctor})
def training(run: RunContext, config: TrainingConfig) -> TrainingRun:
    """Train, measure, compare."""
    done = run.do(Training(config))
    assert isinstance(done, TrainingSummary)
    summary = run_summary(run.status, done, run.timeline.seconds())
    write_json(run.folder.path / "summary.json", summary)
    return summary


if __name__ == "__main__":
    training.main()
