"""Filtering: outcomes → a balanced selection of failures, each routed to a question pipeline.

    python -m flows.filtering --run-dir runs/mine --set filtering.quota=50

Works on the folder of `flows.probing`, or on any file or folder of outcomes given as `input` (JSON lines or a JSON array).
"""

from __future__ import annotations

from pathlib import Path

from millrace.config import Settings
from millrace.filtering.settings import FilteringSettings
from millrace.filtering.stage import Filtering
from millrace.orchestration.flow import flow
from millrace.records.summaries import StageSummary
from millrace.run.cluster_settings import ClusterSettings, cluster_field
from millrace.run.context import RunContext
from millrace.run.stage import Stage


class FilteringFlowConfig(Settings):
    """Which failures become questions."""

    filtering: FilteringSettings = FilteringSettings()
    """What is selected, and where it goes."""
    input: Path | None = None
    """Outcomes from elsewhere: a file or a folder. Empty takes those of the run folder."""
    cluster: ClusterSettings = cluster_field()
    """Where shards are worked on."""


def stages(config: FilteringFlowConfig) -> list[Stage]:
    """The one stage."""
    return [Filtering(config.filtering, config.input)]


OFTEN = (
    "input",
    "filtering.quota",
    "filtering.total",
)
"""What people change from run to run: the run form shows these."""


@flow(FilteringFlowConfig, stages, often=OFTEN)
def filtering(run: RunContext, config: FilteringFlowConfig) -> StageSummary:
    """Select and route failures."""
    return run.do(Filtering(config.filtering, config.input))


if __name__ == "__main__":
    filtering.main()
