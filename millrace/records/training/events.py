"""What a training program says of itself while it runs, line by line, and what is noted of a background beside it."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from millrace.records.record import Record

Number = int | float
"""Written as it is: a whole number stays one."""

Value = bool | int | float | str
"""The value of a hyperparameter."""

State = Literal["waiting", "starting", "training", "paused", "backing_off", "finished", "fatal", "stopped"]
"""What a background is doing; fatal: it is not started any more."""


class ProgramStart(msgspec.Struct, frozen=True, kw_only=True):
    """Where a program's clock began, so that its times can be put on ours (`millrace.run.clock.Anchor`)."""

    boot: str
    """The kernel's id of the boot."""
    offset: float
    """Wall clock minus monotonic clock when the program started, in seconds."""


class TrainingEvent(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A line of `events.jsonl`. Source: our training program, a foreign one that prints the same, or the patterns of its config.

    What a line does not say, or says with a value that is none (a text for a number), is None: unknown.
    """

    SCHEMA: ClassVar[str] = "millrace.training-event/1"

    event: str
    """start, ready, progress, epoch, metrics, end, stopped, resumed or error; others are passed over."""
    t: Number | None = None
    """When, in seconds since 1970 by the program's clock; `ProgramClock.translate` puts it on ours, and then it is known."""
    n: Number | None = None
    """Of an epoch: its number, as the program counts."""
    started: Number | None = None
    """Of an epoch: when it began, as `t`."""
    wall_s: Number | None = None
    """Of an epoch: how long it took, without the evaluation after it."""
    cpu_s: Number | None = None
    """Of an epoch: CPU time of all ranks."""
    samples: Number | None = None
    """Of an epoch: samples trained on."""
    samples_total: Number | None = None
    """Samples since the program started."""
    loss: Number | None = None
    """Of an epoch: its mean training loss."""
    ok: bool | None = None
    """Of the end: whether everything was done."""
    metrics: dict[str, Number] | None = None
    """By name; only what is a number."""
    epochs_done: Number | None = None
    """Of the end: whole epochs, those before a resume among them."""
    peak_rss_bytes: Number | None = None
    """The largest resident size of the process."""
    kind: str | None = None
    """Of an error: out_of_memory, disk_full, diverged, input or exception."""
    message: str | None = None
    """Of an error."""
    hyperparameters: dict[str, Any] | None = None
    """Of the start: what the program really uses. Our program says `Value`s; a foreign one may print any JSON."""
    clock: ProgramStart | None = None
    """Of the start of our own program."""

    @property
    def at(self) -> float:
        """`t` where it is known: in every event that `Observation` hands on."""
        assert self.t is not None
        return self.t


class StateChange(Record, frozen=True, kw_only=True):
    """A line of a background's `states.jsonl`: it entered another state. Source: `BackgroundLoop`."""

    SCHEMA: ClassVar[str] = "millrace.background-state/1"

    event: Literal["state"] = "state"
    t: float
    """When, in seconds since 1970."""
    background: str
    """Its id."""
    state: State
    detail: str
    """Why it last failed, or was stopped."""


class TrainingProgress(Record, frozen=True, kw_only=True):
    """How far a training is: a JSON text inside its checkpoint. Source: the training program, between two batches."""

    SCHEMA: ClassVar[str] = "millrace.training-progress/1"

    epoch: int = 0
    """Whole epochs done."""
    batches: int = 0
    """Batches done of the next epoch."""
    loss_sum: float = 0.0
    """Their losses, each times its samples."""
    seen: int = 0
    """Their samples."""


class CheckpointRead(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a checkpoint was read: stands in the event `resumed`. Source: the reader's own figures; another reader has none."""

    checkpoint: str
    """The folder's name."""
    reader: str
    """The reader's dotted path."""
    payload_bytes: int | None = None
    """Bytes of tensors."""
    seconds: float | None = None
    """Wall time of the load."""
    threads: int | None = None
    items: int | None = None
    """Tensors and objects read in parallel."""
    stock_items: int | None = None
    """Those that torch's own reader had to read."""
