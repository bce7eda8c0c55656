"""The main job: images + a baseline model → its failures → targeted, checked VQA data.

    python -m flows.full
    python -m flows.full --config configs/full/quick.yaml --run-dir runs/quick

Probes the model with claims under torchrun, selects and routes its failures, writes and checks questions about them, and leaves
`dataset/`, `report.html` and `summary.json` in the run's folder. The same command goes on where a killed run stopped.
"""

from __future__ import annotations

from typing import Any

from millrace.config import Settings
from millrace.filtering.settings import FilteringSettings
from millrace.filtering.stage import Filtering
from millrace.orchestration.flow import flow
from millrace.probing.settings import ProbingConfig
from millrace.probing.stage import AskBaseline, Probing
from millrace.qa.settings import QaSettings
from millrace.qa.stage import WriteQuestions
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
    cluster: ClusterSettings = cluster_field()
    """Where shards are worked on."""


def stages(config: FullConfig) -> list[Stage]:
    """The main job, in its order."""
    return [Probing(config.probing), Filtering(config.filtering), WriteQuestions(config.qa, AskBaseline())]


@flow(FullConfig, stages)
def full(run: RunContext, config: FullConfig) -> dict[str, Any]:
    """Find a model's failures and turn them into checked VQA data."""
    for stage in stages(config):
        run.do(stage)
    return conclude(run, config.probing)


def conclude(run: RunContext, probing: ProbingConfig) -> dict[str, Any]:
    """Write the summary and the report, and show both where the run is watched."""
    from millrace.reporting.full_report import write_report
    from millrace.reporting.full_results import as_markdown, rate_table, report_data, summarise
    from millrace.run.journal import write_json

    folder = run.folder.path
    summary = summarise(folder, run.status, run.timeline.seconds())
    claims = {claim.claim_id: (claim.name, claim.claim_template) for claim in probing.claim_set().claims}
    data = report_data(folder, summary, claims)
    write_report(data, folder / "report.html")
    run.show_table("failure-rates", rate_table(data), "Failure rate per claim, with 95 % intervals")
    run.show_text("report", as_markdown(data, folder), "What the run found")
    write_json(folder / "summary.json", summary)
    run.progress.say(f"{summary['dataset']['rows']} questions in {folder / 'dataset'}, report in {folder / 'report.html'}")
    return summary


if __name__ == "__main__":
    full.main()
