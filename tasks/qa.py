"""The question stage as Prefect tasks: the same names as the functions they wrap, and nothing more than the wrapping."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from millrace.orchestration.shard_task import timed
from millrace.qa.checking import check_shards as check
from millrace.qa.checking import whole_set as settling
from millrace.qa.dataset import write_dataset as dataset
from millrace.qa.dataset import write_exports as export
from millrace.qa.dataset.dataset_card import CardFacts
from millrace.qa.settings import QaSettings
from millrace.qa.writing import write_shards as write
from millrace.qa.writing.option_balance import Plan, Survey
from millrace.qa.writing.write_shards import StageReport


@task(task_run_name="survey {selection.name}", cache_policy=NO_CACHE)
@timed
def survey_shard(selection: Path, lake: Path | None, qa: QaSettings) -> Survey:
    """See `millrace.qa.writing.write_shards.survey_shard`."""
    return write.survey_shard(selection, lake, qa)


@task(task_run_name="balance the options", cache_policy=NO_CACHE)
def plan_questions(surveys: list[Survey], qa: QaSettings) -> Plan:
    """See `millrace.qa.writing.write_shards.plan_questions`."""
    return write.plan_questions(surveys, qa)


@task(task_run_name="write {selection.name}", cache_policy=NO_CACHE)
@timed
def write_shard(selection: Path, out: Path, lake: Path | None, qa: QaSettings, plan: Plan) -> StageReport:
    """See `millrace.qa.writing.write_shards.write_shard`."""
    return write.write_shard(selection, out, lake, qa, plan)


@task(task_run_name="check {written.name}", cache_policy=NO_CACHE)
@timed
def check_shard(written: Path, asked: Path | None, out: Path, rejected: Path, lake: Path | None, qa: QaSettings) -> StageReport:
    """See `millrace.qa.checking.check_shards.check_shard`."""
    return check.check_shard(written, asked, out, rejected, lake, qa)


@task(task_run_name="settle the set", cache_policy=NO_CACHE)
def settle(accepted: Sequence[Path], out: Path, rejected: Path, qa: QaSettings) -> settling.Settlement:
    """See `millrace.qa.checking.whole_set.settle`."""
    return settling.settle(accepted, out, rejected, qa)


@task(task_run_name="write the dataset", cache_policy=NO_CACHE)
def write_dataset(
    settled: Sequence[Path | str], out: Path, rejected: Path, lake: Path | None, qa: QaSettings, facts: CardFacts
) -> dataset.DatasetReport:
    """See `millrace.qa.dataset.write_dataset.write_dataset`."""
    return dataset.write_dataset(settled, out, rejected, lake, qa, facts)


@task(task_run_name="write the exports", cache_policy=NO_CACHE)
def write_exports(settled: Sequence[Path | str], out: Path, lake: Path | None, qa: QaSettings) -> dict[str, int]:
    """See `millrace.qa.dataset.write_exports.write_exports`."""
    return export.write_exports(settled, out, lake, qa)
