"""Models that exist already: trained elsewhere, on the training sets that a run with another trainer wrote, or on any others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from millrace.config import Settings
from millrace.errors import UsageError
from millrace.records.improve import TrainingJob
from millrace.records.record import PluginChoice

FORMAT = "records"


class TrainerSettings(Settings):
    """Models that are there."""

    name: Literal["given"] = "given"
    """Which trainer."""
    models: Mapping[str, tuple[PluginChoice, ...]] = {}
    """By arm: one model for each seed, as `probing.baseline` would name it."""


def check(settings: TrainerSettings, base: Mapping[str, Any], arms: Sequence[str], seeds: int) -> None:
    """See `Plugin.check`."""
    del base
    for arm in arms:
        there = len(settings.models.get(arm, ()))
        if there != seeds:
            raise UsageError(f"improve.trainer.models has {there} models of the arm '{arm}'; improve.seeds asks for {seeds}")
    if unknown := sorted(set(settings.models) - set(arms)):
        raise UsageError(f"improve.trainer.models names '{unknown[0]}', which is none of the arms: {', '.join(arms)}")


def command(settings: TrainerSettings, job: TrainingJob) -> None:
    """Nothing is run."""
    del settings, job


def model(settings: TrainerSettings, job: TrainingJob) -> PluginChoice:
    """See `Plugin.model`."""
    return dict(settings.models[job.arm][job.number])


def seconds(settings: TrainerSettings, steps: int, records: int) -> float:
    """No time at all."""
    del settings, steps, records
    return 0.0


def time_limit_s(settings: TrainerSettings) -> float:
    """See `Plugin.time_limit_s`."""
    del settings
    return 1.0
