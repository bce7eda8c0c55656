"""Synthesis: seeds → tool-use trajectories in an environment → questions whose answers are proven.

    python -m flows.synthesis --config configs/synthesis/math.yaml --run-dir runs/math
    python -m flows.synthesis trace RUN_DIR QA_ID
    python -m flows.synthesis compare --config configs/synthesis/math.yaml

Writes `qa.jsonl` (verified), `trajectories.jsonl`, `trees.jsonl`, `rejected.jsonl`, `failures.jsonl`, `statistics.json`,
`dataset/`, `report.html` and `summary.json` into the run's folder.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tasks.synthesis.config import SynthesisConfig


def sections(config: SynthesisConfig) -> Mapping[str, BaseModel]:
    """The parts of a run folder that this flow answers for."""
    return {"synthesis": config}


if __name__ == "__main__":
    from tasks.synthesis.commands import main

    sys.exit(main(sys.argv[1:], doc=__doc__, sections=sections))

import uuid

from prefect import flow, unmapped

from tasks.errors import RunFailed
from tasks.journal import write_json
from tasks.llm.settings import runs_here
from tasks.run_dir import RunDir
from tasks.session import Session, open_session
from tasks.synthesis import steps
from tasks.synthesis.commands import check
from tasks.synthesis.plan import Plan, seeds_digest
from tasks.synthesis.report import write_report
from tasks.synthesis.results import report_data, summarise
from tasks.synthesis.run import MAX_ROUNDS, assembled_when_short, is_short, reopen_for_new_seeds


@flow(name="synthesis", flow_run_name="synthesis in {run_dir}")
def synthesis(config: SynthesisConfig = SynthesisConfig(), run_dir: RunDir = Path("runs/synthesis")) -> dict[str, Any]:
    """Turn seeds into verified question-answer pairs.

    Args:
        config: the settings.
        run_dir: the run's folder: new, or one to be taken up again.
    """
    check(config, run_dir)
    reopen_for_new_seeds(config, run_dir)  # a schedule runs in one folder: what is done stays done
    with open_session("synthesis", sections(config), run_dir, config.workers_cluster) as run:
        statistics = synthesise(run, config)
        return conclude(run, config, statistics)


def synthesise(run: Session, config: SynthesisConfig) -> dict[str, Any]:
    """The stage: plan the shards → work through them → assemble. Returns the statistics."""
    run.start_cluster()

    def work(folder: Path) -> dict[str, Any]:
        plan = steps.plan_shards(config, folder)

        def put_together() -> dict[str, Any]:
            with run.progress.stage("assembling", plan.seeds, "seeds") as stage, run.timeline.work("synthesis"):
                statistics: dict[str, Any] = steps.finish_run(config, plan, run.folder.path)
                stage.update(plan.seeds)
                stage.note = ", ".join(f"{count} {status}" for status, count in statistics["items"].items() if count)
            return statistics

        with assembled_when_short(put_together):
            work_through(run, config, plan)
        return put_together()

    return run.stage("synthesis", work)


def work_through(run: Session, config: SynthesisConfig, plan: Plan) -> None:
    """Map the shards over the cluster, again and again for those whose worker died, until all are done."""
    launch = uuid.uuid4().hex
    with run.progress.stage("synthesising", plan.seeds, "seeds") as stage, steps.shown_live(plan, stage, run.folder.path):
        for _ in range(MAX_ROUNDS):
            waiting = [shard for shard in plan.shards if not plan.result_of(shard).exists()]
            if not waiting:
                return
            results = [plan.result_of(shard) for shard in waiting]
            before = steps.progress_of(plan)
            with run.on_gpus(config.policy == "chat" and runs_here(config.chat)):
                futures = steps.synthesise_shard.map(unmapped(config), waiting, results, unmapped(launch))
            try:
                run.gather("synthesis", futures, lambda done: None)
            except RunFailed as error:
                own = error.__cause__ is None  # a shard said so itself: an endpoint is down, a journal is damaged
                if own or steps.progress_of(plan) == before:
                    raise
                run.progress.say("a worker process ended in the middle of a shard; its unfinished seeds are handed out again")


def conclude(run: Session, config: SynthesisConfig, statistics: dict[str, Any]) -> dict[str, Any]:
    """Write the summary and the report, and show both in Prefect."""
    folder = run.folder.path
    status = "short" if is_short(config, statistics) else "finished"
    summary = summarise(folder, status, statistics, run.timeline.seconds())
    data = report_data(config, folder, summary)
    write_report(data, folder / "report.html")
    steps.publish_report(data, folder)
    write_json(folder / "summary.json", summary)
    run.folder.finish("synthesis", status, seeds_sha256=seeds_digest(config))
    run.progress.say(f"{data.kept} questions in {folder}, report in {folder / 'report.html'}")
    return summary
