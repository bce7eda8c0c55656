"""Improve: does the data help the model it was made for, and does targeting? Trained, judged on held-out images, with controls.

    python -m flows.improve --run-dir runs/mine
    python -m flows.improve --config quick --run-dir runs/improve
    millrace improve verify runs/mine

Works on the folder of a finished `flows.full` or `flows.probing`; with a section `probing` it probes the pool first. Trains the
model on several choices of data of one size (arms), asks every trained model about the same held-out images, and
leaves a verdict in `RUN_DIR/improve/summary.json` and `report.html`. `verify` computes every figure again from the journals.
"""

from __future__ import annotations

from millrace.config import Settings
from millrace.improve.settings import ImproveSettings
from millrace.improve.stage import Improve
from millrace.improve.verification.command import verify
from millrace.orchestration.flow import flow
from millrace.probing.settings import ProbingConfig
from millrace.probing.stage import AskAnother, Probing
from millrace.records.summaries import StageSummary
from millrace.run.cluster_settings import ClusterSettings, cluster_field
from millrace.run.context import RunContext
from millrace.run.stage import Stage


class ImproveFlowConfig(Settings):
    """From outcomes to a verdict on the data."""

    probing: ProbingConfig | None = None
    """What is probed first, as the pool of the training sets; empty takes the outcomes that the run's folder has."""
    improve: ImproveSettings = ImproveSettings()
    """Which arms are compared, and how."""
    cluster: ClusterSettings = cluster_field()
    """Where models are trained: a training per worker at a time."""


def stages(config: ImproveFlowConfig) -> list[Stage]:
    """The pool, if it is to be probed, and the proof."""
    pool: list[Stage] = [Probing(config.probing)] if config.probing is not None else []
    return [*pool, Improve(config.improve, AskAnother(config.probing))]


OFTEN = (
    "improve.images",
    "improve.seeds",
    "improve.require",
    "cluster.workers",
)
"""What people change from run to run: the run form shows these."""


@flow(ImproveFlowConfig, stages, often=OFTEN, subcommands={"verify": verify})
def improve(run: RunContext, config: ImproveFlowConfig) -> StageSummary:
    """Train on the data and its controls, and judge on held-out images."""
    done = [run.do(stage) for stage in stages(config)]
    return done[-1]


if __name__ == "__main__":
    improve.main()
