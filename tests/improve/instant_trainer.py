"""A trainer that takes no time: what its models get wrong is said in its settings, by arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from millrace.config import Settings
from millrace.records.improve import TrainingJob

FORMAT = "records"


class TrainerSettings(Settings):
    name: Literal["tests.improve.instant_trainer"] = "tests.improve.instant_trainer"
    fails: Mapping[str, float] = {}
    """By arm: the share that its models get wrong."""
    claims: Mapping[str, float] = {}
    """By claim: the same, for every arm."""


def check(settings: TrainerSettings, base: Mapping[str, Any], arms: Sequence[str], seeds: int) -> None:
    del settings, base, arms, seeds


def command(settings: TrainerSettings, job: TrainingJob) -> None:
    del settings, job


def model(settings: TrainerSettings, job: TrainingJob) -> dict[str, Any]:
    fails = settings.fails.get(job.arm, 0.4)
    return {"name": "fake", "number": job.number, "arm": job.arm, "fails": fails, "claims": dict(settings.claims)}


def seconds(settings: TrainerSettings, steps: int, records: int) -> float:
    del settings, steps, records
    return 0.0


def time_limit_s(settings: TrainerSettings) -> float:
    del settings
    return 1.0
