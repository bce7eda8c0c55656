"""The main job: images + a baseline model → its failures → targeted, checked VQA data.

    python -m flows.full
    python -m flows.full --config configs/full/quick.yaml --run-dir runs/quick

Probes the model with claims under torchrun, selects and routes its failures, writes and checks questions about them, and leaves
`dataset/`, `report.html` and `summary.json` in the run's folder. The same command goes on where a killed run stopped.
"""

from __future__ import annotations

from millrace.config import Settings
from millrace.filtering.settings import FilteringSettings
from millrace.filtering.stage import Filtering
from millrace.improve.settings import ImproveSettings
from millrace.improve.stage import Improve
from millrace.orchestration.flow import flow
from millrace.probing.settings import ProbingConfig
from millrace.probing.stage import AskAnother, AskBaseline, Probing
from millrace.qa.settings import QaSettings
from millrace.qa.stage import WriteQuestions
from millrace.records.results.main_job import MainJobSummary
from millrace.run.cluster_settings import ClusterSettings, cluster_field
from millrace.run.context import RunContext
from millrace.run.stage import Stage


class FullConfig(Settings):
    """From images to a dataset aimed at a model's failures."""

    probing: ProbingConfig = ProbingConfig()
    """What is probed, how, and when to stop."""
    filtering: FilteringSettings = FilteringSettings(failures_per_image=None, quota=50)
    """Which failures become questions."""
    qa: QaSettings = QaSettings()
    """How questions are written and what they must pass."""
    improve: ImproveSettings = ImproveSettings()
    """Whether and how the data is tested: trained on, and judged on held-out images. Off unless `enabled`."""
    cluster: ClusterSettings = cluster_field()
    """Where shards are worked on."""


def stages(config: FullConfig) -> list[Stage]:
    """The main job, in its order."""
    selecting = Filtering(config.filtering, annotation=config.probing.lake.annotation)
    made = [Probing(config.probing), selecting, WriteQuestions(config.qa, AskBaseline(config.probing))]
    return [*made, Improve(config.improve, AskAnother(config.probing))] if config.improve.enabled else made


OFTEN = (
    "probing.lake.path",
    "probing.sample_size",
    "probing.target_failure_count",
    "probing.torchrun.nproc_per_node",
    "qa.language",
    "qa.dataset.name",
    "qa.dataset.license",
    "improve.enabled",
    "cluster.workers",
)
"""What people change from run to run: the run form shows these."""


@flow(FullConfig, stages, often=OFTEN)
def full(run: RunContext, config: FullConfig) -> MainJobSummary:
    """Find a model's failures and turn them into checked VQA data."""
    from millrace.reporting.full_results import conclude

    for stage in stages(config):
        run.do(stage)
    return conclude(run, config.probing.claim_set())


if __name__ == "__main__":
    full.main()
