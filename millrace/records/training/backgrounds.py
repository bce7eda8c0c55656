"""What came of the trainings beside a foreground: one report for each background, and how the load was changed."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from millrace.records.training.events import Number, State, Value
from millrace.records.training.mean import Mean


class ContainmentInForce(msgspec.Struct, frozen=True, kw_only=True):
    """What makes sure that no process outlives the run. Source: `millrace.processes.supervised`, when the program started."""

    name: str
    """The mode of `millrace.processes.containment`, with `cgroup+` before it where there is one too."""
    guarantee: str
    """What the mode guarantees, in a sentence."""
    cgroup: bool
    memory_limited_by: str | None
    """Which limit on memory is in force; None: none was asked for."""
    gpu_memory_limited_by: str | None
    """The same for GPU memory; where one was asked for and is not in force, why not."""
    cpu_limited_by: str | UnsetType | None = UNSET
    """The same for CPUs; left out where none was asked for."""


class BackgroundEnd(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a background that has ended, or could not be started: then most is left out."""

    number: int
    """From 1."""
    cause: str
    """completed, stopped, or the class of its failure."""
    returncode: int | None
    """-N: killed by signal N; None: it never started."""
    began: float | UnsetType = UNSET
    """When it was started, in seconds since 1970."""
    trained_s: float
    """From its readiness to its end."""
    samples: Number | UnsetType | None = UNSET
    """Samples trained on; None: it does not say."""
    epochs: int | UnsetType = UNSET
    killed: bool | UnsetType = UNSET
    """Whether its grace time was not enough."""
    leftover: list[int] | UnsetType = UNSET
    """Pids that could not be ended."""
    detail: str
    """Why it failed; empty when it did not."""


class BackgroundReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one background did beside a foreground. Source: `BackgroundRecord`, at the foreground's end."""

    id: str
    workload: str
    hyperparameters: dict[str, Value]
    """Those of the config."""
    required: bool
    state: State
    detail: str
    """Why it last failed, or was stopped."""
    first_ready_s: float | None
    """From its beginning to its first readiness; None: it never was ready."""
    starts: int
    iterations: int
    """Whole trainings done."""
    epochs: int
    samples: float | None
    """Samples trained on; None: it does not say."""
    restarts_by_cause: dict[str, int]
    ends: list[BackgroundEnd]
    state_s: dict[str, float]
    """State → seconds in it."""
    cpu_s: float
    """CPU time of all its processes."""
    peak_bytes: Number | None
    log_bytes: int
    overlap_fraction: float | None
    """The share of the foreground's time in which it was really training, 0 to 1; None: the foreground had no time."""
    gaps: list[tuple[float, float]]
    """When it was not, as seconds after the foreground's beginning."""
    containment: ContainmentInForce | None
    """None: it never started."""
    samples_per_s: Mean | UnsetType = UNSET
    """While it trained beside the foreground, over equal parts of that time; left out by earlier versions."""


class LoadChange(msgspec.Struct, frozen=True, kw_only=True):
    """The load was changed between two epochs of the foreground."""

    t: float
    """When, in seconds since 1970."""
    level: float
    """How much of the load is on from then, 0 (all paused) to 1."""
    why: str


class BackgroundsAlone(msgspec.Struct, frozen=True, kw_only=True):
    """All backgrounds together, measured before the foreground started."""

    window_s: float
    """For how long."""
    samples_per_s: float | None
    """None: one of them does not say."""
    samples_per_s_parts: list[float] | None = None
    """The same in each part of the window, in order."""
    cpu_per_s: float
    """CPUs they kept busy."""
    watts: float | None
    """Of the machine's measured domains; None: nothing could be measured."""
    watts_parts: list[float] | UnsetType | None = UNSET
    """The same in each part of the window, in order; None: it is not known of one."""
