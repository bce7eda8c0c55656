"""Training experiments: hyperparameter mutations, a foreground measured beside supervised backgrounds, honest energy figures.

python -m flows.training --config configs/training/parallel_example.yaml --run-dir runs/mine
python -m flows.training doctor        what this host can measure and contain, and how to get more
"""

from __future__ import annotations

from typing import Any

from millrace.orchestration.flow import flow
from millrace.run.cluster_settings import ClusterSettings
from millrace.run.context import RunContext
from millrace.run.journal import write_json
from millrace.run.stage import Stage
from millrace.training.doctor import main as doctor
from millrace.training.settings import TrainingConfig
from millrace.training.stage import Training


def stages(config: TrainingConfig) -> list[Stage]:
    """The one stage."""
    return [Training(config)]


def cluster(config: TrainingConfig) -> ClusterSettings | None:
    """It maps no shards."""
    return ClusterSettings(class_path=config.cluster) if config.cluster else None


@flow(TrainingConfig, stages, cluster=cluster, subcommands={"doctor": doctor})
def training(run: RunContext, config: TrainingConfig) -> dict[str, Any]:
    """Train, measure, compare."""
    done = run.do(Training(config))
    summary = {"status": run.status, **done, "seconds": run.timeline.seconds()}
    write_json(run.folder.path / "summary.json", summary)
    return summary


if __name__ == "__main__":
    training.main()
