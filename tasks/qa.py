"""The question stage's work as Prefect tasks: how each is named in the UI."""

from __future__ import annotations

from millrace.orchestration.prefect_tasks import shard_task, step_task
from millrace.qa.checking import check_shards, whole_set
from millrace.qa.dataset import write_dataset as dataset
from millrace.qa.dataset import write_exports as exports
from millrace.qa.writing import write_shards

survey_shard = shard_task(write_shards.survey_shard, "survey {selection.name}")
plan_questions = step_task(write_shards.plan_questions, "balance the options")
write_shard = shard_task(write_shards.write_shard, "write {selection.name}")
check_shard = shard_task(check_shards.check_shard, "check {written.name}")
settle = step_task(whole_set.settle, "settle the set")
write_dataset = step_task(dataset.write_dataset, "write the dataset")
write_exports = step_task(exports.write_exports, "write the exports")
