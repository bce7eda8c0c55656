"""Comparing two models: what got better, what got worse, and how surely, on the same images, claims and subjects.

    python -m flows.compare RUN_A RUN_B                 # two finished runs of probing or full; no model is asked again
    python -m flows.compare --config configs/compare/two_baselines.yaml --run-dir runs/ab
    python -m flows.compare verify RUN_DIR              # every figure again, from the journals, by other code

A model that has no run yet is probed first, into `RUN_DIR/before/` and `RUN_DIR/after/`. Leaves `report.html` and `summary.json`;
a difference that is not shown is a result too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from millrace.compare.commands import SUBCOMMANDS, flow_arguments
from millrace.compare.settings import CompareSettings, SideSettings
from millrace.compare.stage import Compare
from millrace.config import Settings
from millrace.orchestration.flow import flow
from millrace.probing.how_asked import HowAsked
from millrace.probing.settings import ComparedProbing
from millrace.probing.stage import ProbingAfter, ProbingBefore
from millrace.records.results.compare import CompareSummary
from millrace.run.cluster_settings import ClusterSettings, cluster_field
from millrace.run.context import RunContext
from millrace.run.stage import Stage


class CompareFlowConfig(Settings):
    """Whether a model is better than another, where, and how surely."""

    compare: CompareSettings = CompareSettings()
    """Which two models, and what matters."""
    probing: ComparedProbing = ComparedProbing()
    """How a model is asked that has no run yet: images, claims, judge. The `baseline` is that of `compare.before` or `.after`."""
    cluster: ClusterSettings = cluster_field()
    """Where shards are worked on."""


def stages(config: CompareFlowConfig) -> list[Stage]:
    """The models that have no run yet, probed; then the comparison."""
    probed, comparison = parts(config)
    return [*probed, comparison]


def parts(config: CompareFlowConfig) -> tuple[list[Stage], Compare]:
    """The same, apart."""
    probed: list[Stage] = []
    asked: dict[str, Mapping[str, Any]] = {}
    compared: dict[str, SideSettings] = {}
    for name, side, stage in (("before", config.compare.before, ProbingBefore), ("after", config.compare.after, ProbingAfter)):
        if side.baseline:
            probing = config.probing.model_copy(update={"baseline": side.baseline})
            probed.append(stage(probing))
            asked[name] = probing.model_dump(mode="json")
        compared[name] = side.model_copy(update={"baseline": {}})  # the section of its probing keeps it
    return probed, Compare(config.compare.model_copy(update=compared), HowAsked(), asked)


OFTEN = (
    "compare.before.run",
    "compare.after.run",
    "compare.margin",
    "compare.require",
    "cluster.workers",
)
"""What people change from run to run: the run form shows these."""


@flow(CompareFlowConfig, stages, often=OFTEN, arguments=flow_arguments, subcommands=SUBCOMMANDS)
def compare(run: RunContext, config: CompareFlowConfig) -> CompareSummary:
    """Compare two models on the same images, claims and subjects."""
    from millrace.compare.results import finish, sides_in

    probed, comparison = parts(config)
    for line in comparison.power(config.probing.sample_size):
        run.progress.say(line)
    for stage in (*probed, comparison):
        run.do(stage)
    return finish(run, config.compare, HowAsked(), sides_in(run.folder.path, config.compare))


if __name__ == "__main__":
    compare.main()
