"""The shapes of the original's experiment settings and models config, and of ours that they become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

Hyperparameter = bool | int | float | str
"""A value as the files write it; the trainings themselves say which types they take."""


class Parameter(TypedDict, total=False):
    """A hyperparameter of a foreign training, in the words of both projects."""

    flag: str
    type: str
    default: Hyperparameter
    range: list[float]
    distribution: str
    zero_probability: float


class Repository(TypedDict, total=False):
    """A repository of the original's models config."""

    path: str
    train_script: str
    model_flag: str
    models: list[str]
    required_args: dict[str, Hyperparameter]
    supported_hyperparams: dict[str, Parameter]
    performance_metrics: dict[str, dict[str, str]]


Repositories = Mapping[str, Repository]
"""The models config, by repository; empty where there is none."""


class ForeignTraining(TypedDict):
    """A training of the original's as our config names it (`external`)."""

    command: list[str]
    cwd: str | None
    parameters: dict[str, Parameter]
    metrics: dict[str, str]
    epochs_parameter: None


class Entry(TypedDict, total=False):
    """An experiment, or a half of one, as the original writes it."""

    repo: str
    model: str
    mode: str
    hyperparameters: dict[str, Hyperparameter]
    mutate: list[str]
    runs_per_config: int
    foreground: Entry
    background: Entry


class Job(TypedDict, total=False):
    """What is trained, in our words."""

    workload: str
    hyperparameters: dict[str, Hyperparameter]
    original: str


class Experiment(Job, total=False):
    """An experiment in our words."""

    mode: str
    foreground_mode: str
    backgrounds: list[Job]
    mutate: list[str]
    runs_per_config: int


class TrainingFile(TypedDict, total=False):
    """The whole file in our words; `TrainingConfig` checks it."""

    experiment_name: str
    description: str
    runs_per_config: int
    max_retries: int
    seed: int
    mode: str
    energy: dict[str, str]
    original_columns: bool
    external: dict[str, ForeignTraining]
    notes: list[str]
    deduplicate: bool
    earlier_results: list[str]
    experiments: list[Experiment]
