"""The question stage as Prefect tasks: the same names as the functions they wrap, and nothing more than the wrapping."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.qa import check, dataset, export, write
from tasks.qa import settle as settling
from tasks.qa.balance import Plan, Survey
from tasks.qa.card import CardFacts
from tasks.qa.settings import QaSettings
from tasks.qa.write import StageReport
from tasks.timeline import timed


@task(task_run_name="survey {selection.name}", cache_policy=NO_CACHE)
@timed
def survey_shard(selection: Path, lake: Path | None, qa: QaSettings) -> Survey:
    """See `tasks.qa.write.survey_shard`."""
    return write.survey_shard(selection, lake, qa)


@task(task_run_name="balance the options", cache_policy=NO_CACHE)
def plan_questions(surveys: list[Survey], qa: QaSettings) -> Plan:
    """See `tasks.qa.write.plan_questions`."""
    return write.plan_questions(surveys, qa)


@task(task_run_name="write {selection.name}", cache_policy=NO_CACHE)
@timed
def write_shard(selection: Path, out: Path, lake: Path | None, qa: QaSettings, plan: Plan) -> StageReport:
    """See `tasks.qa.write.write_shard`."""
    return write.write_shard(selection, out, lake, qa, plan)


@task(task_run_name="check {written.name}", cache_policy=NO_CACHE)
@timed
def check_shard(written: Path, asked: Path | None, out: Path, rejected: Path, lake: Path | None, qa: QaSettings) -> StageReport:
    """See `tasks.qa.check.check_shard`."""
    return check.check_shard(written, asked, out, rejected, lake, qa)


@task(task_run_name="settle the set", cache_policy=NO_CACHE)
def settle(accepted: Sequence[Path], out: Path, rejected: Path, qa: QaSettings) -> settling.Settlement:
    """See `tasks.qa.settle.settle`."""
    return settling.settle(accepted, out, rejected, qa)


@task(task_run_name="write the dataset", cache_policy=NO_CACHE)
def write_dataset(
    settled: Sequence[Path | str], out: Path, rejected: Path, lake: Path | None, qa: QaSettings, facts: CardFacts
) -> dataset.DatasetReport:
    """See `tasks.qa.dataset.write_dataset`."""
    return dataset.write_dataset(settled, out, rejected, lake, qa, facts)


@task(task_run_name="write the exports", cache_policy=NO_CACHE)
def write_exports(settled: Sequence[Path | str], out: Path, lake: Path | None, qa: QaSettings) -> dict[str, int]:
    """See `tasks.qa.export.write_exports`."""
    return export.write_exports(settled, out, lake, qa)
