"""Synthesis: seeds → tool-use trajectories in an environment → questions whose answers are proven.

    python -m flows.synthesis --config configs/synthesis/math.yaml --run-dir runs/math
    python -m flows.synthesis trace RUN_DIR QA_ID
    python -m flows.synthesis compare --config configs/synthesis/math.yaml

Writes `qa.jsonl` (verified), `trajectories.jsonl`, `trees.jsonl`, `rejected.jsonl`, `failures.jsonl`, `statistics.json`,
`dataset/`, `report.html` and `summary.json` into the run's folder. `trace` shows one item and proves it again, `compare` runs
serially and in parallel.
"""

from __future__ import annotations

from millrace.orchestration.flow import flow
from millrace.records.synthesis_counts import Summary
from millrace.run.cluster_settings import ClusterSettings
from millrace.run.context import RunContext
from millrace.run.stage import Stage
from millrace.synthesis.runs.commands import SUBCOMMANDS, as_ours
from millrace.synthesis.runs.stage import Synthesis
from millrace.synthesis.settings import SynthesisConfig


def stages(config: SynthesisConfig) -> list[Stage]:
    """The one stage."""
    return [Synthesis(config)]


def cluster(config: SynthesisConfig) -> ClusterSettings:
    """Where seeds are worked on."""
    return config.workers_cluster


OFTEN = (
    "environment_mode",
    "policy",
    "seeds",
    "number_of_seed",
    "target_items",
    "language",
    "max_workers",
)
"""What people change from run to run: the run form shows these."""


@flow(
    SynthesisConfig,
    stages,
    cluster=lambda config: config.workers_cluster,
    often=OFTEN,
    arguments=as_ours,
    subcommands=SUBCOMMANDS,
)
def synthesis(run: RunContext, config: SynthesisConfig) -> Summary:
    """Grow trajectories from seeds and turn the good ones into proven question-answer pairs."""
    from millrace.synthesis.runs.summary import conclude

    run.do(Synthesis(config))
    return conclude(run, config)


if __name__ == "__main__":
    synthesis.main()
