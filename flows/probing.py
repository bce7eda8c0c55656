"""Probing: images → every claim's outcome, under torchrun.

    python -m flows.probing --run-dir runs/mine --set probing.target_failure_count=500

Makes what is missing first (the embedded lake, the embedded baseline), then starts the ranks and settles what they found into
`RUN_DIR/probing/shard-*.jsonl`.
"""

from __future__ import annotations

from millrace.config import Settings
from millrace.orchestration.flow import flow
from millrace.probing.settings import ProbingConfig
from millrace.probing.stage import Probing
from millrace.records.summaries import StageSummary
from millrace.run.cluster_settings import ClusterSettings, cluster_field
from millrace.run.context import RunContext
from millrace.run.stage import Stage


class ProbingFlowConfig(Settings):
    """Which claims a model gets wrong about which images."""

    probing: ProbingConfig = ProbingConfig()
    """What is probed, how, and when to stop."""
    cluster: ClusterSettings = cluster_field()
    """Where shards are worked on."""


def stages(config: ProbingFlowConfig) -> list[Stage]:
    """The one stage."""
    return [Probing(config.probing)]


OFTEN = (
    "probing.lake.path",
    "probing.sample_size",
    "probing.target_failure_count",
    "probing.torchrun.nproc_per_node",
    "cluster.workers",
)
"""What people change from run to run: the run form shows these."""


@flow(ProbingFlowConfig, stages, often=OFTEN)
def probing(run: RunContext, config: ProbingFlowConfig) -> StageSummary:
    """Find what a model gets wrong."""
    return run.do(Probing(config.probing))


if __name__ == "__main__":
    probing.main()
