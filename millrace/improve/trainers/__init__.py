"""A trainer makes a better model of a training set: the protocol. One file in this folder is one kind of trainer.

A plug-in is a module with what `Plugin` names; its settings' field `name` is the file's name. None may import torch before its
program runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from millrace.config import Settings
from millrace.plugins.loading import load_plugin, plugin_settings
from millrace.records.improve import TrainingJob
from millrace.records.record import PluginChoice

PACKAGE = "millrace.improve.trainers"


class Plugin(Protocol):
    """What a module in this folder has."""

    TrainerSettings: type[Settings]
    FORMAT: str = "records"
    """In which of `millrace.improve.formats` it takes its training set, where its settings have no field `format`."""

    def check(self, settings: Any, base: Mapping[str, Any], arms: Sequence[str], seeds: int) -> None:
        """See that it can train `base` (probing's `baseline`), before anything is started; raises UsageError."""
        ...

    def command(self, settings: Any, job: TrainingJob) -> list[str] | None:
        """The program to run (an argv list, no shell); None: nothing is to be run."""
        ...

    def model(self, settings: Any, job: TrainingJob) -> PluginChoice:
        """The trained model as probing's `baseline` names it.

        Raises:
            InputError: what the program left does not load.
        """
        ...

    def seconds(self, settings: Any, steps: int, records: int) -> float | None:
        """An estimate of one training's time on a free core; None: unknown. `records`: in one step."""
        ...

    def time_limit_s(self, settings: Any) -> float:
        """How long the program may run."""
        ...


def trainer_settings(data: Mapping[str, Any]) -> Settings:
    """The settings in `data`, checked by the plug-in that `data["name"]` names.

    Raises:
        UsageError: there is no such trainer, or a key or value it does not know.
    """
    return plugin_settings(PACKAGE, data, "trainer", "embedded")


def open_trainer(data: Mapping[str, Any]) -> Plugin:
    """The plug-in that `data["name"]` names."""
    return cast("Plugin", load_plugin(PACKAGE, str(data.get("name", "embedded")), "trainer"))


def format_of(data: Mapping[str, Any]) -> str:
    """In which of `millrace.improve.formats` it takes its training set."""
    chosen = getattr(trainer_settings(data), "format", None)
    return str(chosen or open_trainer(data).FORMAT)
