"""Training experiments: hyperparameter mutations, a foreground measured beside supervised backgrounds, honest energy figures.

python -m flows.training --config configs/training/parallel_example.yaml --run-dir runs/mine
python -m flows.training doctor        what this host can measure and contain, and how to get more
"""

from __future__ import annotations

from typing import Any

from msgspec import to_builtins

from millrace.orchestration.flow import flow
from millrace.run.context import RunContext
from millrace.run.journal import write_json
from millrace.run.stage import Stage
from millrace.training.doctor import main as doctor
from millrace.training.settings import TrainingConfig
from millrace.training.stage import Training


def stages(config: TrainingConfig) -> list[Stage]:
    """The one stage."""
    return [Training(config)]


@flow(TrainingConfig, stages, cluster=lambda config: None, subcommands={"doctor": doctor})
def training(run: RunContext, config: TrainingConfig) -> dict[str, Any]:
    """Train, measure, compare."""
    done, spent = to_builtins(run.do(Training(config))), to_builtins(run.timeline.seconds())
    summary = {"status": run.status, **done, "seconds": spent}
    write_json(run.folder.path / "summary.json", summary)
    return summary


if __name__ == "__main__":
    training.main()
