"""Synthesis' work as Prefect tasks: how each is named in the UI."""

from __future__ import annotations

from millrace.orchestration.prefect_tasks import shard_task, step_task
from millrace.synthesis import work_shard
from millrace.synthesis.runs import shard_plan, synthesis_run

plan_shards = step_task(shard_plan.plan_shards, "plan the shards")
synthesise_shard = shard_task(work_shard.synthesise_shard, "synthesise {plan.stem}")
finish_run = step_task(synthesis_run.finish_run, "assemble the dataset")
