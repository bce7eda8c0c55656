"""Probing's work as Prefect tasks: how each is named in the UI."""

from __future__ import annotations

from millrace.orchestration.prefect_tasks import shard_task, step_task
from millrace.probing import ask, preparation
from millrace.probing.asking_again import another_model
from millrace.probing.ranks import launch, settlement

prepare_baseline = step_task(preparation.prepare_baseline, "prepare the baseline")
run_ranks = step_task(launch.run_ranks, "probe with {config.torchrun.nnodes} × {config.torchrun.nproc_per_node} ranks")
settle_outcomes = step_task(settlement.settle_outcomes, "settle the outcomes")
ask_shard = shard_task(ask.ask_shard, "ask {questions.stem}")
probe_another = shard_task(another_model.probe_another, "ask {folder.name}")
