"""The config of `flows.training`: experiments, their foreground and backgrounds, energy, retries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from millrace.compat.experiment_files import is_original, translate
from millrace.config import OPERATIONAL, Settings
from millrace.plugins.form_fields import NameOf
from millrace.training.parameters import Parameter, PassedAs, Value


class Resources(Settings):
    """What one training may use."""

    threads: PositiveInt | None = None
    """CPU threads of each process; null: as many as there are CPUs it may run on."""
    cpu_affinity: list[NonNegativeInt] | None = None
    """CPU numbers it may run on; null: all."""
    nice: int = Field(default=0, ge=-20, le=19)
    """Added to its priority; 19 is the most yielding, below 0 needs the right to."""
    memory_limit_mb: PositiveInt | None = None
    """Most memory, in MiB: by cgroup where one can be made, else per process by rlimit. The result names which."""
    cpu_limit: float | None = Field(default=None, gt=0)
    """Most CPUs that it keeps busy, such as 0.5: how strong a background is. By cgroup (cpu.max) where one can be made with a cpu
    controller; elsewhere it has no effect, and the result says so. null: no limit."""
    memory_need_mb: PositiveInt | None = None
    """Refuse to start when less than this is free, in MiB."""
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    """cpu, cuda or cuda:N."""
    gpu_memory_fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of the GPU's memory that torch's allocator may take in each process; no isolation from others."""
    gpu_memory_limit_mb: PositiveInt | None = None
    """The same as a hard limit in MiB, where NVIDIA's MPS runs."""


class TrainingJob(Settings):
    """One training: a workload and how it is run."""

    workload: Annotated[str, NameOf("millrace.training.workloads", "external, or dotted path")] = "tabular_mlp"
    """A file in millrace/training/workloads/, a name under `external`, or a dotted path to your own module."""
    hyperparameters: dict[str, Value] = {}
    """Values that are passed as they are; others keep the workload's defaults."""
    processes: PositiveInt = 1
    """Ranks under torchrun (DistributedDataParallel); 1 needs no torchrun."""
    resources: Resources = Resources()
    """Threads, CPUs, memory, device."""
    checkpoint_every: NonNegativeInt = 0
    """Save a torch.distributed.checkpoint every so many epochs; a run that was cut off goes on from it. 0: it starts anew."""
    env: dict[str, str] = {}
    """Further environment variables."""
    original: str | None = None
    """The repository/model of the original project that this stands for: its name in summary.csv; null: none."""


class Restart(Settings):
    """What happens when a background ends."""

    policy: Literal["always", "on_failure", "never"] = "always"
    """always starts it again after success too, so that the load goes on."""
    max_failures: PositiveInt = 5
    """This many failures within `window_s` end the attempts: the background is then `fatal`."""
    window_s: PositiveFloat = 300.0
    """The window for counting failures, in seconds."""
    backoff_s: PositiveFloat = 1.0
    """Wait before the first restart after a failure, in seconds; doubled each time, with up to 20 % of jitter."""
    backoff_limit_s: PositiveFloat = 60.0
    """The longest wait, in seconds."""
    healthy_s: PositiveFloat = 30.0
    """After this long in training the wait starts from the beginning again."""
    shortest_s: NonNegativeFloat = 1.0
    """With policy always: ending well sooner than this, in seconds, and without an epoch counts as a failure; 0: never."""


class Background(TrainingJob):
    """A training that loads the machine beside the foreground."""

    id: str | None = None
    """Its name in results; null: the workload's name with a number."""
    count: PositiveInt = 1
    """So many of the same."""
    start_after_s: NonNegativeFloat = 0.0
    """Start this long after the first one, in seconds."""
    stagger_s: NonNegativeFloat = 0.0
    """Between the starts of the `count`, in seconds."""
    required: bool = True
    """Losing it for good makes the run invalid; otherwise it is only written down."""
    ready_timeout_s: PositiveFloat = 180.0
    """It must say that it is training within this time, in seconds."""
    silent_timeout_s: PositiveFloat | None = 300.0
    """Without a sign of life for this long it counts as hung and is restarted; null: never."""
    grace_s: NonNegativeFloat = 5.0
    """Between TERM and KILL when it is stopped, in seconds."""
    restart: Restart = Restart()
    """When and how often it is started again."""
    max_log_mb: PositiveFloat = 16.0
    """Its log and the log's predecessor together, in MiB."""


class Experiment(TrainingJob):
    """One measured training in some runs."""

    name: str | None = None
    """What it is called; null: made from mode and workload."""
    mode: Literal["default", "mutation", "parallel"] | None = None
    """default passes `hyperparameters`; mutation draws sets; parallel adds backgrounds. null: the config's."""
    foreground_mode: Literal["default", "mutation"] | None = None
    """In parallel mode: whether the foreground's hyperparameters are drawn; null: drawn when `mutate` is given."""
    mutate: Annotated[list[str], Field(min_length=1)] | None = None
    """The hyperparameters to draw; null or [all]: all that can be drawn."""
    parameters: dict[str, Parameter] = {}
    """Other ranges and defaults than the workload's own, by hyperparameter."""
    runs_per_config: PositiveInt | None = None
    """How many runs; null: the config's."""
    backgrounds: list[Background] = []
    """What trains beside it."""


def _patterns(value: str | dict[str, str] | None) -> str | dict[str, str] | None:
    """See that each can be used."""
    for pattern in value.values() if isinstance(value, dict) else [value]:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"'{pattern}' is not a regular expression: {error}") from error
    return value


class External(Settings):
    """A training program of yours: a command, its hyperparameters, and how its output is read."""

    command: Annotated[list[str], Field(min_length=1)]
    """Program and arguments, no shell. `{python}` (Millrace's own), `{out}` (the attempt's folder), `{threads}`, `{device}`,
    `{processes}` and `{gpu_memory_fraction}` are filled in; what has no place here is not recorded as in force."""
    cwd: Path | None = None
    """Working directory; null: the attempt's own folder, so that two runs never write into each other."""
    parameters: dict[str, Parameter] = {}
    """Its hyperparameters, with flags and ranges."""
    underscores: bool = False
    """Parameters without a `flag` of their own are passed as --batch_size instead of --batch-size."""
    passed_as: PassedAs = "pair"
    """How parameters stand on the command line that do not say it themselves; override is for Hydra."""
    adapter: Literal["regex", "jsonl"] = "regex"
    """regex reads text by the patterns below; jsonl takes lines of our event format."""
    ready: str | None = None
    """Pattern of the line that says training has begun; null: the first epoch, or the first output line."""
    ready_after_s: NonNegativeFloat | None = None
    """As a background it counts as training this long after its start, in seconds, also when it prints nothing; null: its output
    says when."""
    epoch: str | None = None
    """Pattern of the line that ends an epoch. Its first group without a name (or the group `epoch`) is the epoch's number, other
    named groups are metrics. Without a number the lines are counted."""
    first_epoch: NonNegativeInt | None = None
    """The number of its first epoch; null: 0 if a line names an epoch 0, else 1."""
    metrics: dict[str, str] = {}
    """Pattern by metric, one group each; the last match counts."""
    required_metrics: list[str] | None = None
    """Metrics that a success must have; null: all of `metrics`."""
    success: str | None = None
    """A pattern that a success must print; null: none."""
    epochs_parameter: str | None = None
    """The hyperparameter that says how many epochs there must be; null: not checked, as for programs that may stop early."""

    _patterns_can_be_used = field_validator("ready", "epoch", "success", "metrics")(_patterns)

    @model_validator(mode="after")
    def _epochs_can_be_seen(self) -> External:
        if self.epochs_parameter and self.adapter == "regex" and not self.epoch:
            raise ValueError(f"epochs_parameter '{self.epochs_parameter}' can be checked only with an `epoch` pattern")
        return self


class Measure(Settings):
    """A training command that is measured as it is, alone and beside other commands; what it prints is found out by looking."""

    command: Annotated[str, Field(min_length=1)]
    """The command line, split into words as a shell does it, and run without one: python train.py --lr 0.1"""
    beside: list[Annotated[str, Field(min_length=1)]] = []
    """What runs beside it: command lines, or names of workloads (millrace/training/workloads/)."""
    cwd: Path | None = None
    """The folder in which the commands run; null: where the flow was started."""
    runs: PositiveInt = 1
    """How often it is measured."""
    look_s: PositiveFloat = 120.0
    """It is first run alone for at most this long, in seconds, until three epochs are seen, to find out what its lines mean."""
    epoch: str | None = None
    """Pattern of the line that ends an epoch, as of `external`; null: it is found by looking."""
    metrics: dict[str, str] = {}
    """Pattern by metric, one group each, beside those that are found by looking."""

    _patterns_can_be_used = field_validator("epoch", "metrics")(_patterns)


class CoolDown(Settings):
    """What is waited for between runs."""

    max_s: NonNegativeFloat = 5.0
    """The longest wait, in seconds; 0 waits for nothing."""
    cpu_busy_below: float = Field(default=0.25, gt=0, le=1)
    """Until the CPUs are busy for less than this share."""
    temperature_below_c: PositiveFloat | None = None
    """Until the hottest sensor is below this; null: not looked at."""
    check_every_s: PositiveFloat = 1.0
    """How often to look, in seconds."""


class EnergySettings(Settings):
    """What is measured. Training runs whether or not anything can be."""

    providers: list[Annotated[str, NameOf("millrace.training.energy")]] = ["rapl", "nvml"]
    """Files in millrace/training/energy/, or dotted paths of your own; zeus and codecarbon need their packages."""
    idle_s: NonNegativeFloat = 5.0
    """Length of the idle baseline at the start, in seconds; 0 takes none."""
    watts_per_core: PositiveFloat | None = None
    """Your figure for an estimate from CPU time, in watts for each busy core; null: no estimate."""
    governor: Literal["performance", "powersave", "ondemand", "conservative", "schedutil"] | None = None
    """CPU governor to set for the run and restore after it (needs root); null: only recorded."""
    powercap: Path = Path("/sys/class/powercap")
    """Where the kernel shows its RAPL counters."""
    rapl_total: Literal["package", "psys"] = "package"
    """What RAPL's total is made of: package (every socket with its memory), or psys (the whole platform, which includes them)."""
    country: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")
    """ISO code of the country for codecarbon, which would otherwise guess it over the network."""


class Colocation(Settings):
    """How foreground and backgrounds are compared."""

    windows: Literal["interleaved", "shared"] = "interleaved"
    """interleaved pauses the backgrounds in turns (solo, shared, shared, solo, …) within one run; shared never does."""
    epochs_per_window: PositiveInt = 1
    """Foreground epochs between two changes."""
    background_alone_s: NonNegativeFloat = 3.0
    """How long the backgrounds are measured by themselves before the foreground starts, in seconds; 0: not."""
    on_lost_background: Literal["continue", "abort"] = "continue"
    """When a required background is lost: let the foreground finish (the run is invalid either way), or stop it."""
    min_free_memory_mb: NonNegativeInt = 128
    """With less free memory the backgrounds are stopped before the foreground suffers, in MiB; 0: never."""
    max_foreground_slowdown: float | None = Field(default=None, gt=1)
    """Adjust the load so that the foreground slows down by no more than this factor; null: a constant load."""
    dwell_epochs: PositiveInt = 2
    """Foreground epochs between two adjustments."""


class TrainingConfig(Settings):
    """Training experiments: hyperparameter mutations, a measured foreground beside backgrounds, energy."""

    experiment_name: str = "training"
    """What the whole is called."""
    description: str = ""
    """Free text for the report."""
    mode: Literal["default", "mutation", "parallel"] = "mutation"
    """For experiments that name none."""
    experiments: Annotated[list[Experiment], Field(min_length=1)] = [Experiment(mode="default")]
    """What is trained."""
    measure: Measure | None = None
    """One command of yours instead of `experiments`; null: the experiments."""
    runs_per_config: PositiveInt = 1
    """For experiments that name none."""
    seed: int = 42
    """All drawing comes from this."""
    deduplicate: bool = True
    """Never run the same set twice, within this run and against `earlier_results`."""
    earlier_results: list[Path] = []
    """Run folders, result tables (CSV, parquet) or the original's CSV files whose sets must not come again."""
    max_retries: NonNegativeInt = Field(default=2, json_schema_extra=OPERATIONAL)
    """Further attempts after a failure that may pass; a wrong config or no memory is not tried again."""
    retry_wait_s: NonNegativeFloat = Field(default=5.0, json_schema_extra=OPERATIONAL)
    """Wait before the next attempt, in seconds."""
    timeout_s: PositiveFloat | None = Field(default=None, json_schema_extra=OPERATIONAL)
    """Longest training, in seconds; null: no limit."""
    silent_timeout_s: PositiveFloat | None = Field(default=1800.0, json_schema_extra=OPERATIONAL)
    """A foreground that prints nothing for this long has hung, in seconds; null: never."""
    grace_s: NonNegativeFloat = Field(default=10.0, json_schema_extra=OPERATIONAL)
    """Between TERM and KILL for the foreground, in seconds."""
    max_log_mb: PositiveFloat = Field(default=64.0, json_schema_extra=OPERATIONAL)
    """A foreground's log and its predecessor together, in MiB."""
    cluster: Literal["none"] | None = Field(default=None, json_schema_extra=OPERATIONAL)
    """none: no Prefect server beside the trainings, and nothing to see or cancel in a Prefect UI."""
    max_failure_rate: float = Field(default=0.5, ge=0, le=1, json_schema_extra=OPERATIONAL)
    """The flow fails when more of its runs failed than this share."""
    data: Path | None = None
    """A folder with CIFAR-10 (its Python version), used by the ResNets when given."""
    cool_down: CoolDown = Field(default=CoolDown(), json_schema_extra=OPERATIONAL)
    """What is waited for between runs."""
    colocation: Colocation = Colocation()
    """How foreground and backgrounds are compared."""
    energy: EnergySettings = EnergySettings()
    """What is measured."""
    external: dict[str, External] = {}
    """Training programs of your own, by name."""
    notes: list[str] = Field(default=[], json_schema_extra=OPERATIONAL)
    """What was remarked while a file of the original project was read."""
    original_columns: bool = False
    """Also write summary.csv with the column names of the original project."""

    @model_validator(mode="before")
    @classmethod
    def _accept_the_original_format(cls, data: Any) -> Any:
        return translate(data) if is_original(data) else data

    @model_validator(mode="after")
    def _one_or_the_other(self) -> TrainingConfig:
        if (
            self.measure is not None
            and {"experiments", "external"} & self.model_fields_set
            and (self.experiments != [Experiment(mode="default")] or self.external)
        ):
            raise ValueError("`measure` stands instead of `experiments` and `external`: give one or the other")
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> TrainingConfig:
        names = [experiment.name for experiment in self.experiments if experiment.name]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two experiments are called '{name}'")
        return self
