"""Training by a command of the user's own: it gets the training set in a named format and leaves a model at a named place.

improve:
  trainer:
    name: command
    command: [torchrun, --nproc-per-node=8, train.py, --data, "{dataset}", --images, "{images}", --out, "{result}"]
    format: llava
    model: {name: huggingface, model: "{result}"}
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, field_validator

from millrace.config import OPERATIONAL, Settings
from millrace.errors import InputError, UsageError
from millrace.plugins.form_fields import NameOf
from millrace.records.improve import TrainingJob
from millrace.records.record import PluginChoice

PLACES = ("dataset", "tuning", "images", "result", "folder", "arm", "number", "seed", "steps", "images_per_step")
"""What may stand in braces."""


class TrainerSettings(Settings):
    """A command that trains."""

    name: Literal["command"] = "command"
    """Which trainer."""
    command: tuple[str, ...] = Field(default=(), max_length=1000)
    """Program and arguments, a list; no shell reads it. In braces: {dataset} the training set, {tuning} records to tune on,
    {images} the folder that images are named from, {result} where the model goes, {folder} the training's own folder, {arm},
    {number}, {seed}, {steps}, {images_per_step}."""
    format: Annotated[str, NameOf("millrace.improve.formats")] = "llava"
    """The training set's format."""
    model: PluginChoice = {}
    """The trained model, as `probing.baseline` would name it, with the same braces."""
    time_limit_s: PositiveFloat = Field(default=86_400.0, json_schema_extra=OPERATIONAL)
    """A training that takes longer is stopped, and the run fails."""

    @field_validator("command")
    @classmethod
    def _names_known_places(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        for part in command:
            filled(part, dict.fromkeys(PLACES, ""))
        return command


def check(settings: TrainerSettings, base: Mapping[str, Any], arms: Sequence[str], seeds: int) -> None:
    """See `Plugin.check`."""
    del base, arms, seeds
    if not settings.command or not settings.model:
        raise UsageError("the trainer 'command' needs improve.trainer.command (what to run) and .model (what comes out of it)")
    program = settings.command[0]
    if "{" not in program and shutil.which(program) is None:
        raise UsageError(f"the training command '{program}' is not there or cannot be run; correct improve.trainer.command")


def command(settings: TrainerSettings, job: TrainingJob) -> list[str]:
    """See `Plugin.command`."""
    values = places_of(job)
    return [filled(part, values) for part in settings.command]


def model(settings: TrainerSettings, job: TrainingJob) -> PluginChoice:
    """See `Plugin.model`."""
    result = Path(job.result)
    if not result.exists() or (result.is_dir() and not any(result.iterdir())):
        raise InputError(f"the training command of {job.name} ended well and left nothing at {result}; see {job.folder}")
    made = _filled_in(settings.model, places_of(job))
    assert isinstance(made, dict)
    return made


def seconds(settings: TrainerSettings, steps: int, records: int) -> None:
    """None: how long a command takes is not known."""
    del settings, steps, records


def time_limit_s(settings: TrainerSettings) -> float:
    """See `Plugin.time_limit_s`."""
    return settings.time_limit_s


def places_of(job: TrainingJob) -> dict[str, str]:
    """What the braces stand for."""
    return {name: str(getattr(job, name)) for name in PLACES}


def filled(text: str, values: Mapping[str, str]) -> str:
    """`text` with its braces filled in; braces with nothing known in them stay as they are (JSON has them, too)."""
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


def _filled_in(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled_in(inner, values) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_filled_in(inner, values) for inner in value]
    return filled(value, values) if isinstance(value, str) else value
