"""The main job: images + a baseline model → its failures → targeted, checked VQA data.

    python -m flows.full
    python -m flows.full --config configs/full/quick.yaml --run-dir runs/quick

Probes the model with claims under torchrun, selects and routes its failures, writes and checks questions about them, and leaves
`dataset/`, `report.html` and `summary.json` in the run's folder. The same command goes on where a killed run stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from millrace.config import Settings
from millrace.filtering.settings import FilteringSettings
from millrace.orchestration.clusters.cluster import ClusterSettings, check_cluster, cluster_field
from millrace.probing.settings import ProbingConfig
from millrace.qa.settings import QaSettings


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


def sections(config: FullConfig) -> Mapping[str, BaseModel]:
    """The parts of a run folder that this flow answers for."""
    return {"probing": config.probing, "filtering": config.filtering, "qa": config.qa}


def plan(config: FullConfig, run_dir: Path) -> list[str]:
    """What `--dry-run` prints."""
    from millrace.filtering import funnel
    from millrace.llm.estimate import lines_of
    from millrace.probing import expected_calls as expected
    from millrace.probing import preflight as probing
    from millrace.qa import expected_calls as expected_of_qa
    from millrace.qa import preflight as qa

    stages = [*probing.plan_lines(config.probing), *funnel.plan_lines(config.filtering), *qa.plan_lines(config.qa)]
    failures, images = expected.most_failures(config.probing), sum(expected.images_of(config.probing))
    kinds = [claim.target_failure_id for claim in config.probing.claim_set().claims]
    selected = funnel.most_selected(config.filtering, failures, images, kinds)
    calls = [
        *expected.expected_calls(config.probing),
        *expected_of_qa.expected_calls(config.qa, selected),
        *expected.expected_questions(config.probing, selected * config.qa.items_per_failure),
    ]
    return [f"run folder: {run_dir}", *stages, *lines_of(calls)]


def check(config: FullConfig, run_dir: Path) -> None:
    """Raises what is wrong with the config, the lake or an endpoint."""
    from millrace.filtering.funnel import checked_routes
    from millrace.probing import preflight as probing
    from millrace.qa import preflight as qa

    probing.check(config.probing)
    checked_routes(config.filtering)
    qa.check(config.qa)
    check_cluster(config.cluster, run_dir, hosts=config.probing.torchrun.nnodes)
    probing.reach(config.probing)
    qa.reach(config.qa)


if __name__ == "__main__":
    from millrace.cli import main

    sys.exit(main("full", FullConfig, doc=__doc__, sections=sections, plan=plan, check=check, ahead="cluster"))

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.filtering import filter_failures
from flows.probing import is_short, probe_images
from flows.qa import write_questions
from millrace.orchestration.run_dir import RunDir
from millrace.orchestration.session import Session, open_session
from millrace.reporting.full_report import ReportData, write_report
from millrace.reporting.full_results import as_markdown, rate_table, report_data, summarise
from millrace.run.journal import write_json


@flow(name="full", flow_run_name="full in {run_dir}")
def full(config: FullConfig = FullConfig(), run_dir: RunDir = Path("runs/full")) -> dict[str, Any]:
    """Find a model's failures and turn them into checked VQA data.

    Args:
        config: the settings.
        run_dir: the run's folder: new, or one to be taken up again.
    """
    check(config, run_dir)
    with open_session("full", sections(config), run_dir, config.cluster) as run:
        probed = probe_images(run, config.probing)
        filter_failures(run, config.filtering)
        write_questions(run, config.qa)
        return conclude(run, config, "short" if is_short(probed) else "finished")


def conclude(run: Session, config: FullConfig, status: str) -> dict[str, Any]:
    """Write the summary and the report, and show both in Prefect."""
    folder = run.folder.path
    summary = summarise(folder, status, run.timeline.seconds())
    claims = {claim.claim_id: (claim.name, claim.claim_template) for claim in config.probing.claim_set().claims}
    data = report_data(folder, summary, claims)
    write_report(data, folder / "report.html")
    publish(data, folder)
    write_json(folder / "summary.json", summary)
    for flow_name, state in {"probing": status, "filtering": "finished", "qa": "finished", "full": status}.items():
        run.folder.finish(flow_name, state)
    run.progress.say(f"{summary['dataset']['rows']} questions in {folder / 'dataset'}, report in {folder / 'report.html'}")
    return summary


def publish(data: ReportData, folder: Path) -> None:
    """Show the failure rates and the report's findings as artifacts in the Prefect UI."""
    create_table_artifact(rate_table(data), key="failure-rates", description="Failure rate per claim, with 95 % intervals")
    create_markdown_artifact(as_markdown(data, folder), key="report", description="What the run found")
