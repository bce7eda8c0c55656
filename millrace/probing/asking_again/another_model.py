"""Asking another model exactly what a run asked its own: the same claims, judge and seed, about a lake given.

For the stage that trains models and judges them. One model is asked by one torchrun of one rank; how many are asked side by side
is the caller's business, and changes no outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import structs

from millrace.probing import preflight
from millrace.probing.asked_ahead import ask_ahead
from millrace.probing.preparation import prepare_baseline
from millrace.probing.ranks.launch import Counts, run_ranks
from millrace.probing.ranks.settlement import settle_outcomes
from millrace.probing.settings import ProbingConfig
from millrace.records.summaries import ProbingSummary
from millrace.run.journal import read_record, write_json


def probe_another(
    probing: Mapping[str, Any], model: Mapping[str, Any], lake: Path, images: int, folder: Path, logs: Path
) -> ProbingSummary:
    """Ask `model` about the first `images` of the lake; what is finished in `folder` is kept.

    Args:
        probing: the section `probing` of the run's config.
        model: as `probing.baseline` names one.
        lake: the folder of images.
        images: how many; the same ones for every model.
        folder: gets `shard-*.jsonl` and `summary.json`.
        logs: gets the rank's log.

    Returns:
        The summary.

    Raises:
        InputError, RunFailed: the model does not load, or too much broke.
    """
    kept = folder / "summary.json"
    if kept.exists():
        return read_record(kept, ProbingSummary)
    config = config_for(probing, model, images)
    prepare_baseline(config.baseline, logs, lambda done, total: None)
    ask_ahead(config, lake, folder, lambda so_far: None)
    run_ranks(config, lake, folder, logs, _not_shown)
    summary = settle_outcomes(config, lake, folder)
    preflight.check_infrastructure(summary, config.max_failure_rate)
    summary = structs.replace(summary, lake=str(lake.absolute()))
    write_json(kept, summary)
    return summary


def config_for(probing: Mapping[str, Any], model: Mapping[str, Any], images: int) -> ProbingConfig:
    """The run's own settings with another model and no target; raises UsageError for a model that is no baseline."""
    changes = {
        "baseline": dict(model),
        "target_failure_count": None,
        "sample_size": images,
        "max_empty_batches": None,
        "parquet_sample_size": None,
        "torchrun": {**probing["torchrun"], "nproc_per_node": 1, "nnodes": 1, "rdzv_endpoint": None},
    }
    return ProbingConfig.model_validate({**probing, **changes})


def _not_shown(counts: Counts) -> None:
    del counts
