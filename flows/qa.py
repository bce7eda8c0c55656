"""QA: failures → questions, answers, distractors, checks → a dataset.

    python -m flows.qa --run-dir runs/mine --set qa.language=zh

Works on the folder of `flows.filtering`. Each shard goes through four steps: what its failures offer is surveyed, questions are
written, the baseline answers them, every check is made. Then the set as a whole is settled and written as a dataset.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from millrace.config import Settings
from millrace.orchestration.clusters.cluster import ClusterSettings, check_cluster, cluster_field
from millrace.qa.settings import QaSettings


class QaFlowConfig(Settings):
    """How failures become a dataset."""

    qa: QaSettings = QaSettings()
    """How questions are written and what they must pass."""
    cluster: ClusterSettings = cluster_field()
    """Where shards are worked on."""


def sections(config: QaFlowConfig) -> Mapping[str, BaseModel]:
    """The parts of a run folder that this flow answers for."""
    return {"qa": config.qa}


def plan(config: QaFlowConfig, run_dir: Path) -> list[str]:
    """What `--dry-run` prints."""
    from millrace.llm.estimate import lines_of
    from millrace.qa.expected_calls import expected_calls
    from millrace.qa.preflight import plan_lines
    from millrace.run.journal import read_json

    selected = run_dir / "filtering" / "summary.json"
    calls = expected_calls(config.qa, read_json(selected)["out"]) if selected.exists() else []
    return [f"run folder: {run_dir}", f"failures: {run_dir / 'filtering'}", *plan_lines(config.qa), *lines_of(calls)]


def check(config: QaFlowConfig, run_dir: Path) -> None:
    """Raises what is wrong with the config or the input."""
    from millrace.errors import InputError
    from millrace.qa.preflight import check as check_settings
    from millrace.qa.preflight import reach

    check_settings(config.qa)
    check_cluster(config.cluster, run_dir)
    reach(config.qa)
    if not (run_dir / "filtering" / "summary.json").exists():
        raise InputError(f"there are no selected failures in {run_dir / 'filtering'}; run flows.filtering there first")


if __name__ == "__main__":
    from millrace.cli import main

    sys.exit(main("qa", QaFlowConfig, doc=__doc__, sections=sections, plan=plan, check=check, ahead="cluster"))

from collections import Counter

from prefect import flow, unmapped

from millrace.llm.settings import runs_here
from millrace.orchestration.run_dir import RunDir
from millrace.orchestration.session import Session, open_session
from millrace.probing.ask import needs_gpu
from millrace.qa.dataset.dataset_card import CardFacts
from millrace.qa.writers import writer_settings
from millrace.qa.writing.write_shards import StageReport, check_yield
from millrace.reporting.full_results import rate_of
from millrace.run.folder import versions
from millrace.run.journal import read_json
from tasks import probing
from tasks import qa as steps


@flow(name="qa", flow_run_name="qa in {run_dir}")
def qa(config: QaFlowConfig = QaFlowConfig(), run_dir: RunDir = Path("runs/qa")) -> dict[str, Any]:
    """Write questions about selected failures.

    Args:
        config: the settings.
        run_dir: the run's folder: that of a filtering.
    """
    check(config, run_dir)
    with open_session("qa", sections(config), run_dir, config.cluster) as run:
        summary = write_questions(run, config.qa)
        run.folder.finish("qa", "finished")
        return {"status": "finished", **summary}


def write_questions(run: Session, settings: QaSettings) -> dict[str, Any]:
    """The stage: survey → write → ask the baseline → check → settle → dataset. Returns its summary."""
    root = run.folder.path
    probed = read_json(root / "probing" / "summary.json")
    model = read_json(root / "config.json")["probing"]
    lake = Path(probed["lake"])

    def work(folder: Path) -> dict[str, Any]:
        selected = sorted((root / "filtering").glob("shard-*.jsonl"))
        written, asked, checked = ([folder / step / shard.name for shard in selected] for step in ("written", "asked", "checked"))
        refused = [folder / "rejected" / shard.name for shard in selected]
        with run.progress.stage("surveying", len(selected), "shards") as stage:
            surveying = steps.survey_shard.map(selected, unmapped(lake), unmapped(settings))
            plan = steps.plan_questions(run.gather("qa", surveying, lambda survey: stage.advance()), settings)
        with run.progress.stage("writing", read_json(root / "filtering" / "summary.json")["out"], "failures") as stage:
            with run.on_gpus(runs_here(writer_settings(settings.writer))):
                writing = steps.write_shard.map(selected, written, unmapped(lake), unmapped(settings), unmapped(plan))
            drafts = run.gather("qa", writing, lambda report: stage.advance(report.seen))
        check_yield(drafts, settings)
        with run.progress.stage("asking the baseline", sum(draft.kept for draft in drafts), "questions") as stage:
            baseline, device = model["baseline"], model["torchrun"]["device"]
            with run.on_gpus(needs_gpu(baseline, device)):
                asking = probing.ask_shard.map(written, asked, unmapped(lake), unmapped(baseline), unmapped(device))
            run.gather("qa", asking, stage.advance)
        with run.progress.stage("checking", sum(draft.seen for draft in drafts), "questions") as stage:
            checking = steps.check_shard.map(written, asked, checked, refused, unmapped(lake), unmapped(settings))
            reports = run.gather("qa", checking, lambda report: stage.advance(report.seen))
        with run.progress.stage("writing the dataset", 0, "rows") as stage, run.timeline.work("qa"):
            settlement = steps.settle(checked, folder, folder / "rejected" / "settled.jsonl", settings)
            facts = _facts(root, probed, settlement.blind, settlement.moved)
            rejected = folder / "rejected" / "dataset.jsonl"
            dataset = steps.write_dataset(settlement.shards, root / "dataset", rejected, lake, settings, facts)
            exported = steps.write_exports(settlement.shards, root / "exports", lake, settings)
            stage.update(dataset.rows, dataset.rows)
        dropped = sum((Counter(part) for part in (_dropped(reports), settlement.dropped, dataset.dropped)), Counter[str]())
        return {
            "in": sum(report.seen for report in reports),
            "out": dataset.rows,
            "dropped": dict(sorted(dropped.items())),
            "dataset": {"rows": dataset.rows, "splits": _by_split(dataset.splits), "images": dataset.images},
            "verification": {status: sum(splits.values()) for status, splits in dataset.splits.items()},
            "question_types": dataset.question_types,
            "pipelines": dataset.pipelines,
            "baseline": {"failures": dataset.baseline["failures"], "n": dataset.baseline["n"]},
            "blind": settlement.blind,
            "positions": dataset.answers,
            "exports": exported,
        }

    return run.stage("qa", work)


def _dropped(reports: list[StageReport]) -> Counter[str]:
    return sum((Counter(report.dropped) for report in reports), Counter[str]())


def _by_split(splits: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    whole: Counter[str] = Counter()
    for counts in splits.values():
        whole.update(counts)
    return dict(whole)


def _facts(root: Path, probed: Mapping[str, Any], blind: dict[str, Any], moved: int) -> CardFacts:
    """What the dataset's card tells of the stages before."""
    funnel = {name: read_json(root / name / "summary.json") for name in ("probing", "filtering")}
    config = read_json(root / "config.json")["probing"]
    return CardFacts(
        failure_rates={claim: rate_of(outcomes).summary() for claim, outcomes in probed["claims"].items()},
        baseline={"name": config["baseline"].get("name", "embedded")},
        lake="embedded digit scenes" if config["lake"]["path"] is None else probed["lake"],
        funnel={name: {key: stage[key] for key in ("in", "out", "dropped")} for name, stage in funnel.items()},
        blind=blind,
        moved=moved,
        versions=versions(),
    )
