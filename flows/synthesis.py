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

from millrace.synthesis.settings import SynthesisConfig


def sections(config: SynthesisConfig) -> Mapping[str, BaseModel]:
    """The parts of a run folder that this flow answers for."""
    return {"synthesis": config}


if __name__ == "__main__":
    from millrace.synthesis.runs.commands import main

    sys.exit(main(sys.argv[1:], doc=__doc__, sections=sections))

import uuid

from prefect import flow, unmapped

from millrace.errors import RunFailed
from millrace.llm.settings import runs_here
from millrace.orchestration.artifacts import LiveArtifact, show_markdown, show_table
from millrace.orchestration.run_dir import RunDir
from millrace.orchestration.session import Session, open_session
from millrace.run.journal import write_json
from millrace.synthesis.runs.commands import check
from millrace.synthesis.runs.live import shown_live
from millrace.synthesis.runs.report import as_markdown, write_report
from millrace.synthesis.runs.shard_plan import Plan, seeds_digest
from millrace.synthesis.runs.summary import report_data, summarise
from millrace.synthesis.runs.synthesis_run import MAX_ROUNDS, assembled_when_short, is_short, reopen_for_new_seeds
from tasks import synthesis as steps


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
    live = LiveArtifact("synthesis-live", "Synthesis so far")
    with run.progress.stage("synthesising", plan.seeds, "seeds") as stage, shown_live(plan, stage, run.folder.path, live.show):
        for _ in range(MAX_ROUNDS):
            waiting = [shard for shard in plan.shards if not plan.result_of(shard).exists()]
            if not waiting:
                return
            results = [plan.result_of(shard) for shard in waiting]
            before = plan.bytes_done()
            with run.on_gpus(config.policy == "chat" and runs_here(config.chat)):
                futures = steps.synthesise_shard.map(unmapped(config), waiting, results, unmapped(launch))
            try:
                run.gather("synthesis", futures, lambda done: None)
            except RunFailed as error:
                own = error.__cause__ is None  # a shard said so itself: an endpoint is down, a journal is damaged
                if own or plan.bytes_done() == before:
                    raise
                run.progress.say("a worker process ended in the middle of a shard; its unfinished seeds are handed out again")


def conclude(run: Session, config: SynthesisConfig, statistics: dict[str, Any]) -> dict[str, Any]:
    """Write the summary and the report, and show both in Prefect."""
    folder = run.folder.path
    status = "short" if is_short(config, statistics) else "finished"
    summary = summarise(folder, status, statistics, run.timeline.seconds())
    data = report_data(config, folder, summary)
    write_report(data, folder / "report.html")
    show_markdown("synthesis-report", as_markdown(data, folder), "What came of the seeds")
    show_table("synthesis-rejections", data.rejections(), "Why candidates were rejected")
    write_json(folder / "summary.json", summary)
    run.folder.finish("synthesis", status, seeds_sha256=seeds_digest(config))
    run.progress.say(f"{data.kept} questions in {folder}, report in {folder / 'report.html'}")
    return summary
