"""Synthesis: seeds → tool-use trajectories in an environment → questions whose answers are proven.

    python -m flows.synthesis --config configs/synthesis/math.yaml --run-dir runs/math
    python -m flows.synthesis trace RUN_DIR QA_ID
    python -m flows.synthesis compare --config configs/synthesis/math.yaml

Writes `qa.jsonl` (verified), `trajectories.jsonl`, `trees.jsonl`, `rejected.jsonl`, `failures.jsonl`, `statistics.json`,
`dataset/`, `report.html` and `summary.json` into the run's folder. `trace` shows one item and proves it again, `compare` runs
serially and in parallel.
"""

from __future__ import annotations

from typing import Any

from millrace.orchestration.flow import flow
from millrace.run.context import RunContext
from millrace.run.stage import Stage
from millrace.synthesis.runs.commands import SUBCOMMANDS
from millrace.synthesis.runs.stage import Synthesis
from millrace.synthesis.settings import SynthesisConfig


def stages(config: SynthesisConfig) -> list[Stage]:
    """The one stage."""
    return [Synthesis(config)]


@flow(SynthesisConfig, stages, cluster=lambda config: config.workers_cluster, subcommands=SUBCOMMANDS)
def synthesis(run: RunContext, config: SynthesisConfig) -> dict[str, Any]:
    """Grow trajectories from seeds and turn the good ones into proven question-answer pairs."""
    return conclude(run, config, run.do(Synthesis(config)))


def conclude(run: RunContext, config: SynthesisConfig, statistics: dict[str, Any]) -> dict[str, Any]:
    """Write the summary and the report, and show both where the run is watched."""
    from millrace.run.journal import write_json
    from millrace.synthesis.runs.report import as_markdown, write_report
    from millrace.synthesis.runs.summary import report_data, summarise

    folder = run.folder.path
    summary = summarise(folder, run.status, statistics, run.timeline.seconds())
    data = report_data(config, folder, summary)
    write_report(data, folder / "report.html")
    run.show_text("synthesis-report", as_markdown(data, folder), "What came of the seeds")
    run.show_table("synthesis-rejections", data.rejections(), "Why candidates were rejected")
    write_json(folder / "summary.json", summary)
    run.progress.say(f"{data.kept} questions in {folder}, report in {folder / 'report.html'}")
    return summary


if __name__ == "__main__":
    synthesis.main()
