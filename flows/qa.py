"""QA: failures → questions, answers, distractors, checks → a dataset.

    python -m flows.qa --run-dir runs/mine --set qa.language=zh

Works on the folder of `flows.filtering`.
"""

from __future__ import annotations

from millrace.config import Settings
from millrace.orchestration.flow import flow
from millrace.probing.stage import AskBaseline
from millrace.qa.settings import QaSettings
from millrace.qa.stage import WriteQuestions
from millrace.records.summaries import StageSummary
from millrace.run.cluster_settings import ClusterSettings, cluster_field
from millrace.run.context import RunContext
from millrace.run.stage import Stage


class QaFlowConfig(Settings):
    """How failures become a dataset."""

    qa: QaSettings = QaSettings()
    """How questions are written and what they must pass."""
    cluster: ClusterSettings = cluster_field()
    """Where shards are worked on."""


def stages(config: QaFlowConfig) -> list[Stage]:
    """The one stage."""
    return [WriteQuestions(config.qa, AskBaseline())]


OFTEN = (
    "qa.language",
    "qa.items_per_failure",
    "qa.dataset.name",
    "qa.dataset.license",
    "cluster.workers",
)
"""What people change from run to run: the run form shows these."""


@flow(QaFlowConfig, stages, often=OFTEN)
def qa(run: RunContext, config: QaFlowConfig) -> StageSummary:
    """Write questions about selected failures."""
    return run.do(WriteQuestions(config.qa, AskBaseline()))


if __name__ == "__main__":
    qa.main()
