"""Filtering: outcomes → a balanced selection of failures, each routed to a question pipeline.

    python -m flows.filtering --run-dir runs/mine --set filtering.quota=50

Works on the folder of `flows.probing`, or on any file or folder of outcomes given as `input` (JSON lines or a JSON array).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from millrace.config import Settings
from millrace.filtering.settings import FilteringSettings
from millrace.orchestration.clusters.cluster import ClusterSettings, check_cluster, cluster_field


class FilteringFlowConfig(Settings):
    """Which failures become questions."""

    filtering: FilteringSettings = FilteringSettings()
    """What is selected, and where it goes."""
    input: Path | None = Field(default=None)
    """Outcomes from elsewhere: a file or a folder. Empty takes those of the run folder."""
    cluster: ClusterSettings = cluster_field()
    """Where shards are worked on."""


def sections(config: FilteringFlowConfig) -> Mapping[str, BaseModel]:
    """The parts of a run folder that this flow answers for."""
    return {"filtering": config.filtering}


def plan(config: FilteringFlowConfig, run_dir: Path) -> list[str]:
    """What `--dry-run` prints."""
    from millrace.filtering.funnel import plan_lines

    return [f"run folder: {run_dir}", f"outcomes: {config.input or run_dir / 'probing'}", *plan_lines(config.filtering)]


def check(config: FilteringFlowConfig, run_dir: Path) -> None:
    """Raises what is wrong with the config or the input."""
    from millrace.errors import InputError
    from millrace.filtering.funnel import checked_routes
    from millrace.filtering.outcome_files import input_files

    checked_routes(config.filtering)
    check_cluster(config.cluster, run_dir)
    if config.input is not None:
        input_files(config.input)
    elif not ((run_dir / "probing" / "summary.json").exists() and any((run_dir / "probing").glob("shard-*.jsonl"))):
        raise InputError(
            f"there are no finished outcomes in {run_dir / 'probing'}; run flows.probing there first, or set `input`"
        )


if __name__ == "__main__":
    from millrace.cli import main

    sys.exit(main("filtering", FilteringFlowConfig, doc=__doc__, sections=sections, plan=plan, check=check, ahead="cluster"))

from prefect import flow, unmapped

from millrace.filtering.funnel import checked_routes, quarantine_path, summarise
from millrace.filtering.outcome_files import input_files, plan_parts
from millrace.filtering.selection import select_failures
from millrace.orchestration.run_dir import RunDir
from millrace.orchestration.session import Session, open_session
from millrace.run.journal import read_json
from tasks import filtering as steps

PART_BYTES = 64 << 20
"""How much of a file one task scans: at 400 MB a second much less than a task costs would not pay."""


@flow(name="filtering", flow_run_name="filtering in {run_dir}")
def filtering(config: FilteringFlowConfig = FilteringFlowConfig(), run_dir: RunDir = Path("runs/filtering")) -> dict[str, Any]:
    """Select and route failures.

    Args:
        config: the settings.
        run_dir: the run's folder: that of a probing, or a new one when the outcomes come from elsewhere.
    """
    check(config, run_dir)
    with open_session("filtering", sections(config), run_dir, config.cluster) as run:
        summary = filter_failures(run, config.filtering, config.input)
        run.folder.finish("filtering", "finished")
        return {"status": "finished", **summary}


def filter_failures(run: Session, settings: FilteringSettings, place: Path | None = None) -> dict[str, Any]:
    """The stage: scan all outcomes → select → write shards. Returns its summary."""
    outcomes = place or run.folder.path / "probing"

    def work(folder: Path) -> dict[str, Any]:
        routes = checked_routes(settings)
        parts = plan_parts(input_files(outcomes), PART_BYTES)
        quarantine = [quarantine_path(folder, part) for part in parts]
        with run.progress.stage("filtering", len(parts), "parts scanned") as stage:
            scanning = steps.scan_part.map(parts, unmapped(settings.seed), quarantine)
            scans = run.gather("filtering", scanning, lambda scan: stage.advance())
        with run.timeline.work("filtering"):
            selection = select_failures(scans, settings, routes)
        lake = Path(read_json(outcomes / "summary.json")["lake"]) if settings.embed_images and place is None else None
        plans = selection.shards
        paths = [folder / shard.name for shard in plans]
        with run.progress.stage("routing", selection.kept, "failures") as stage:
            writing = steps.write_shard.map(plans, paths, unmapped(routes), unmapped(lake))
            reports = run.gather("filtering", writing, lambda report: stage.advance(report.kept))
        with run.timeline.work("filtering"):
            funnel = summarise(selection, reports, settings, folder)
        dropped = dict(funnel.dropped)
        return {"in": funnel.seen, "out": funnel.kept, "dropped": dropped, "balance": funnel.balance, "shards": funnel.shards}

    return run.stage("filtering", work)
