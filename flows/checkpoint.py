"""Checkpoints: read fast, verified, converted, compared.

    python -m flows.checkpoint read|verify|convert|compare PATH [--set convert.to=PATH --set convert.format=dcp ...]

PATH is a torch.distributed.checkpoint folder, a safetensors folder, or for convert also a torch.save file. Every run gets a run
folder of its own under runs/checkpoint unless --run-dir names one.
"""

from __future__ import annotations

from millrace.checkpoint.settings import CheckpointConfig
from millrace.checkpoint.stage import ACTIONS, flow_arguments
from millrace.config import Settings
from millrace.orchestration.flow import flow
from millrace.records.summaries import StageSummary
from millrace.run.cluster_settings import ClusterSettings, cluster_field
from millrace.run.context import RunContext
from millrace.run.stage import Stage


class CheckpointFlowConfig(Settings):
    """What is done with which checkpoint, and where."""

    checkpoint: CheckpointConfig = CheckpointConfig()
    """The work."""
    cluster: ClusterSettings = cluster_field()
    """Where files are verified."""


def stages(config: CheckpointFlowConfig) -> list[Stage]:
    """The one stage: the action."""
    return [ACTIONS[config.checkpoint.action](config.checkpoint)]


OFTEN = (
    "checkpoint.action",
    "checkpoint.path",
    "checkpoint.check",
    "checkpoint.convert.to",
    "checkpoint.convert.format",
    "cluster.workers",
)
"""What people change from run to run: the run form shows these."""


@flow(CheckpointFlowConfig, stages, often=OFTEN, arguments=flow_arguments)
def checkpoint(run: RunContext, config: CheckpointFlowConfig) -> StageSummary:
    """Read, verify, convert or compare a checkpoint."""
    return run.do(ACTIONS[config.checkpoint.action](config.checkpoint))


if __name__ == "__main__":
    checkpoint.main()
