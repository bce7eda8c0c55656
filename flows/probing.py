"""Probing: images → every claim's outcome, under torchrun.

    python -m flows.probing --run-dir runs/mine --set probing.target_failure_count=500

Makes what is missing first (the embedded lake, the embedded baseline), then starts the ranks and settles what they found into
`RUN_DIR/probing/shard-*.jsonl`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from millrace.config import Settings
from millrace.orchestration.clusters.cluster import ClusterSettings, check_cluster, cluster_field
from millrace.probing.settings import ProbingConfig


class ProbingFlowConfig(Settings):
    """Which claims a model gets wrong about which images."""

    probing: ProbingConfig = ProbingConfig()
    """What is probed, how, and when to stop."""
    cluster: ClusterSettings = cluster_field()
    """Where shards are worked on."""


def sections(config: ProbingFlowConfig) -> Mapping[str, BaseModel]:
    """The parts of a run folder that this flow answers for."""
    return {"probing": config.probing}


def plan(config: ProbingFlowConfig, run_dir: Path) -> list[str]:
    """What `--dry-run` prints."""
    from millrace.llm.estimate import lines_of
    from millrace.probing.expected_calls import expected_calls
    from millrace.probing.preflight import plan_lines

    return [f"run folder: {run_dir}", *plan_lines(config.probing), *lines_of(expected_calls(config.probing))]


def check(config: ProbingFlowConfig, run_dir: Path) -> None:
    """Raises what is wrong with the config, the lake or an endpoint."""
    from millrace.probing import preflight

    preflight.check(config.probing)
    check_cluster(config.cluster, run_dir, hosts=config.probing.torchrun.nnodes)
    preflight.reach(config.probing)


if __name__ == "__main__":
    from millrace.cli import main

    sys.exit(main("probing", ProbingFlowConfig, doc=__doc__, sections=sections, plan=plan, check=check, ahead="cluster"))

from prefect import flow, unmapped

from millrace.digits.lake_build import plan_lake
from millrace.orchestration.run_dir import RunDir
from millrace.orchestration.session import Session, open_session
from millrace.probing import preflight
from millrace.probing.ranks.launch import Counts
from tasks import lake
from tasks import probing as steps

IMAGES_PER_SHARD = 100
"""Of the embedded lake: two seconds of drawing, so that two workers share the default lake evenly."""


@flow(name="probing", flow_run_name="probing in {run_dir}")
def probing(config: ProbingFlowConfig = ProbingFlowConfig(), run_dir: RunDir = Path("runs/probing")) -> dict[str, Any]:
    """Find what a model gets wrong.

    Args:
        config: the settings.
        run_dir: the run's folder: new, or one to be taken up again.
    """
    check(config, run_dir)
    with open_session("probing", sections(config), run_dir, config.cluster) as run:
        summary = probe_images(run, config.probing)
        status = "short" if is_short(summary) else "finished"
        run.folder.finish("probing", status)
        return {"status": status, **summary}


def probe_images(run: Session, config: ProbingConfig) -> dict[str, Any]:
    """The stage: lake → baseline → ranks → outcomes. Returns its summary."""

    run.start_cluster()

    def work(folder: Path) -> dict[str, Any]:
        place = prepare_lake(run, config)
        with run.progress.stage("training the baseline", 0, "steps") as stage, run.timeline.work("probing"):
            steps.prepare_baseline(config, run.folder.logs, stage.update)
        target = config.target_failure_count
        total, unit = (target, "failures") if target else (config.sample_size, "images")
        with run.progress.stage("probing", total, unit) as stage, run.timeline.work("probing"):

            def show(counts: Counts) -> None:
                stage.update(min(total, counts.failures if target else counts.images))

            steps.run_ranks(config, place, folder, run.folder.logs, show, run.cluster)
            summary = steps.settle(config, place, folder)
            stage.note = f"{summary['images']} images, {summary['out']} claims"
        preflight.check_infrastructure(summary, config.max_failure_rate)
        return {**summary, "target": target, "lake": str(place.absolute())}

    return run.stage("probing", work)


def prepare_lake(run: Session, config: ProbingConfig) -> Path:
    """The folder of images: the user's, or the embedded one, drawn on the cluster on first use."""
    if config.lake.path is not None:
        return config.lake.path
    drawing = plan_lake(images=config.lake.images, seed=config.lake.seed, rows_per_shard=IMAGES_PER_SHARD)
    if drawing.missing:
        with run.progress.stage("drawing the lake", len(drawing.missing), "shards") as stage:
            shards = lake.build_shard.map(unmapped(drawing), drawing.missing)
            run.gather("probing", shards, lambda shard: stage.advance())
    return drawing.folder


def is_short(summary: Mapping[str, Any]) -> bool:
    """Whether a target was set and not reached."""
    return summary["target"] is not None and summary["failures"] < summary["target"]
