"""The trainer of the embedded baseline: on answers only, end to end, from the trained model that a run probed.

One process under torchrun, computing on one thread: two trainings side by side fill two cores, and a result depends on neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveFloat

from millrace.config import OPERATIONAL, Settings
from millrace.digits.baseline.trained_folder import read_card
from millrace.errors import UsageError
from millrace.probing.baselines import baseline_settings
from millrace.probing.ranks.launch import torchrun_command
from millrace.probing.settings import TorchrunSettings
from millrace.records.improve import FineTuning, TrainingJob
from millrace.records.record import PluginChoice
from millrace.run.journal import write_json

FORMAT = "records"

STEP_S = 0.04
"""Seconds of a step of 9 images with 36 records, of CPU time on one core (measured over 60 steps, torch 2.13)."""
START_S = 8.0
"""Until torchrun's process has read the model and the pictures."""


class TrainerSettings(Settings):
    """How the embedded baseline is trained on."""

    name: Literal["embedded"] = "embedded"
    """Which trainer."""
    rate: float = Field(default=1.5e-3, gt=0.0)
    """The learning rate at the top of the one cycle."""
    weight_decay: float = Field(default=0.02, ge=0.0)
    """AdamW's."""
    hold: float = Field(default=0.0, ge=0.0)
    """How strongly answers are held to those that the model gave before, where those were right: weight of the divergence
    (Kullback-Leibler) beside the loss of the answers. 0: not at all."""
    blend: float = Field(default=1.0, gt=0.0, le=1.0)
    """How far the result lies on the straight line from the weights before training (0) to those after it (1)."""
    time_limit_s: PositiveFloat = Field(default=3600.0, json_schema_extra=OPERATIONAL)
    """A training that takes longer is stopped, and the run fails."""


def check(settings: TrainerSettings, base: Mapping[str, Any], arms: Sequence[str], seeds: int) -> None:
    """See `Plugin.check`."""
    del settings, arms, seeds
    name = base.get("name", "embedded")
    if name != "embedded":
        raise UsageError(
            f"the trainer 'embedded' trains the embedded baseline, and this run's is '{name}'; set improve.trainer.name to "
            "command (your own training) or given (models that are there)"
        )


def command(settings: TrainerSettings, job: TrainingJob) -> list[str]:
    """See `Plugin.command`."""
    folder = Path(job.folder)
    cycle = settings.model_dump(include={"rate", "weight_decay", "hold", "blend"})
    write_json(folder / "fine_tune.json", FineTuning(job=job, **cycle))
    launch = TorchrunSettings(nproc_per_node=1, max_restarts=0, rdzv_id=f"improve-{job.name}")
    program = ["-m", "millrace.digits.baseline.fine_tune_program", str(folder / "fine_tune.json")]
    return torchrun_command(launch, folder / "ranks", program)


def model(settings: TrainerSettings, job: TrainingJob) -> PluginChoice:
    """See `Plugin.model`."""
    del settings
    read_card(Path(job.result))
    kept = baseline_settings(job.base).model_dump(mode="json", exclude={"checkpoint"})
    return {**kept, "checkpoint": job.result}


def seconds(settings: TrainerSettings, steps: int, records: int) -> float:
    """See `Plugin.seconds`."""
    del settings
    return START_S + steps * STEP_S * records / 36


def time_limit_s(settings: TrainerSettings) -> float:
    """See `Plugin.time_limit_s`."""
    return settings.time_limit_s
