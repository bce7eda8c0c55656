"""Workloads: one file, one training. The file's name is its name in a config.

A workload is a module with

    PARAMETERS   its hyperparameters with defaults and ranges; every one becomes an option of the training program
    METRICS      names of the metrics that a complete training reports
    build(plan)  the Job: model, optimizer, data, evaluation

and what else `Plugin` names. Importing it must not import torch (plans and `--dry-run` read PARAMETERS); `build` may import what
it likes. The training program that runs it is millrace/training/trainer/worker.py. How to write one: docs/extending/workload.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from millrace.training.parameters import Parameter, Value

if TYPE_CHECKING:
    from millrace.training.trainer.job import Job


@dataclass(frozen=True)
class JobPlan:
    """What a workload builds its job from; hyperparameters are attributes: `plan.lr`."""

    values: Mapping[str, Value]
    device: str = "cpu"
    data: Path | None = None

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None


class Plugin(Protocol):
    """What a module in this folder has."""

    PARAMETERS: dict[str, Parameter]
    METRICS: tuple[str, ...]
    SCALES: bool = False
    """Whether it can train under torchrun with several ranks."""
    TAKES_DATA: bool = False
    """Whether it trains on the folder that `data` of a config names (`plan.data`)."""

    def build(self, plan: JobPlan) -> Job:
        """Make the model, its optimizer, its data and its evaluation."""
        ...


def parameters(
    *,
    epochs: int,
    lr: float,
    batch_size: int,
    weight_decay: float = 0.0,
    dropout: float | None = None,
    seed: int = 42,
) -> dict[str, Parameter]:
    """The hyperparameters that nearly every workload has, with ranges around the defaults given.

    The ranges' shapes are those of the original project: lr half to one and a half, decay 1e-5 to 1e-3, both log-uniform.
    """
    made = {
        "epochs": Parameter(type="int", default=epochs, range=(max(1, epochs // 2), epochs + epochs // 2)),
        "lr": Parameter(default=lr, range=(lr * 0.5, lr * 1.5), distribution="log_uniform"),
        "batch_size": Parameter(type="int", default=batch_size, range=(16, 128)),
        "weight_decay": Parameter(default=weight_decay, range=(1e-5, 1e-3), distribution="log_uniform"),
        "seed": Parameter(type="int", default=seed, range=(0, 9999)),
        "max_samples": Parameter(type="int", default=0),
    }
    if dropout is not None:
        made["dropout"] = Parameter(default=dropout, range=(0.0, 0.5))
    return made
