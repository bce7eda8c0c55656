"""What a training says while it runs: its lines turned into events, and the events into a state.

Our own workloads print events. Foreign programs are read by the patterns of their `External` settings.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from msgspec import structs, to_builtins

from millrace.processes.log_pump import PAUSE_S
from millrace.records.training.events import Number, ProgramStart, TrainingEvent
from millrace.run import clock
from millrace.training.program_clock import ProgramClock
from millrace.training.programs import Program
from millrace.training.settings import External

LINE_DELAY_S = 0.005
"""How late a line may come of a program whose epochs are timed by when their lines arrive."""


@dataclass
class Observation:
    """The state of one training process, updated from its output in the thread that reads it."""

    program: Program
    events_file: Path | None = None
    """Where events of a foreign program are written; our own workloads write theirs themselves."""
    on_event: Callable[[TrainingEvent], None] | None = None
    began_at: float = field(default_factory=clock.now)
    echoed: dict[str, Any] | None = None
    ready_at: float | None = None
    last_sign_at: float = field(default_factory=time.monotonic)
    epochs: list[TrainingEvent] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    iterations: int = 0
    epochs_done: int = 0
    """The highest epoch that a line names; after a resume more than were seen."""
    samples_total: Number | None = None
    error: TrainingEvent | None = None
    said_success: bool = False
    peak_rss_bytes: Number | None = None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._last_lines: deque[str] = deque(maxlen=60)
        self._patterns = _Patterns(self.program.external) if self.program.external else None
        self._written: IO[str] | None = None
        if self.events_file and self._patterns:
            with contextlib.suppress(OSError):  # a full disk: the training is followed all the same
                self._written = self.events_file.open("a", buffering=1)
        self._epoch_began = self.began_at
        self._first_epoch = 1
        self._highest: int | None = None
        self.clock = ProgramClock(self.began_at)

    @property
    def line_delay_s(self) -> float:
        """How late its lines may come: those with a time in them may wait, so that the machine is not woken for each."""
        external = self.program.external
        return LINE_DELAY_S if external is not None and external.adapter == "regex" else PAUSE_S

    def take_line(self, line: str) -> None:
        """One line of output."""
        self.last_sign_at = time.monotonic()
        self._last_lines.append(line[:2000])
        external = self.program.external
        if external is not None and external.adapter == "regex":
            assert self._patterns is not None
            for part in shown_lines(line):
                for event in self._patterns.read(part, first=self.ready_at is None):
                    self._take(event, to_builtins(event))
        elif line.startswith("{") and '"event"' in line:
            try:
                event = json.loads(line)
            except ValueError:
                return
            if isinstance(event, dict) and isinstance(event.get("event"), str):
                usable = _usable(event)
                said = self.clock.translate(event_of(event))
                times = {"t": said.t, "started": said.started, "wall_s": said.wall_s}
                self._take(said, usable | {name: value for name, value in times.items() if value is not None})

    def begin(self) -> None:
        """Training has begun, though no line said so."""
        self._take(TrainingEvent(event="ready", t=clock.now()), {"event": "ready", "t": clock.now()})

    def tail(self) -> str:
        """Its last lines, also when the log could not be written."""
        return "\n".join(self._last_lines)

    def close(self) -> None:
        """No more lines will come."""
        written, self._written = self._written, None
        if written is not None:
            with contextlib.suppress(OSError):
                written.close()

    def _take(self, event: TrainingEvent, line: Mapping[str, Any]) -> None:
        """Apply an event; `line` is what `events.jsonl` has of it, with what a foreign program says besides."""
        with self._lock:
            if self._written is not None:
                try:
                    self._written.write(json.dumps(line) + "\n")
                except OSError:
                    self.close()
            if event.event == "epoch":
                event = self._whole(event)
            self._apply(event)
        if self.on_event is not None:
            self.on_event(event)

    def _whole(self, event: TrainingEvent) -> TrainingEvent:
        """An epoch's event with the beginning and the length that it does not say: since the event before."""
        started = self._epoch_began if event.started is None else event.started
        wall_s = event.at - started if event.wall_s is None else event.wall_s
        return structs.replace(event, started=started, wall_s=wall_s)

    def _apply(self, event: TrainingEvent) -> None:
        kind = event.event
        if kind == "start":
            self.echoed = event.hyperparameters
        elif kind == "ready" and self.ready_at is None:
            self.ready_at = self._epoch_began = event.at
        elif kind == "epoch":
            if self.ready_at is None:
                self.ready_at = self.began_at
            self._epoch_began = event.at
            self.epochs.append(event)
            self._count(len(self.epochs) if event.n is None else int(event.n))
        elif kind == "error":
            self.error = event
        elif kind == "end" and event.ok:
            self.iterations += 1
            self.said_success = True
            self.epochs_done = max(self.epochs_done, int(event.epochs_done or 0))
        if event.samples_total is not None:
            self.samples_total = event.samples_total
        if event.peak_rss_bytes is not None:
            self.peak_rss_bytes = event.peak_rss_bytes
        for name, value in (event.metrics or {}).items():
            self.metrics[name] = float(value)

    def _count(self, number: int) -> None:
        """Epoch `number` has ended. Some programs call their first one 0."""
        external = self.program.external
        if external is not None and external.first_epoch is not None:
            self._first_epoch = external.first_epoch
        elif external is not None and number == 0:
            self._first_epoch = 0
        self._highest = number if self._highest is None else max(self._highest, number)
        self.epochs_done = max(self.epochs_done, self._highest - self._first_epoch + 1)


FIGURES = ("t", "n", "started", "wall_s", "cpu_s", "samples", "samples_total", "loss", "epochs_done", "peak_rss_bytes")


def _usable(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line's fields without figures that are none: they are unknown, and not the end of the measurement."""
    kept = {key: value for key, value in line.items() if key not in FIGURES or _is_figure(value)}
    for key in ("metrics", "hyperparameters"):
        if key in kept and not isinstance(kept[key], dict):
            del kept[key]
    return kept


def event_of(line: Mapping[str, Any]) -> TrainingEvent:
    """The event in a line's fields; those that are not what they should be are unknown."""
    said = _usable(line)
    metrics = said.get("metrics")
    numbers = {name: _metric(value) for name, value in (metrics or {}).items()}
    return TrainingEvent(
        event=said["event"],
        ok=bool(said["ok"]) if "ok" in said else None,
        metrics=None if metrics is None else {name: value for name, value in numbers.items() if value is not None},
        kind=str(said["kind"]) if "kind" in said else None,
        message=str(said["message"]) if "message" in said else None,
        hyperparameters=said.get("hyperparameters"),
        clock=_clock_of(said.get("clock")),
        **{name: said[name] for name in FIGURES if name in said},
    )


def _metric(value: Any) -> Number | None:
    """A metric's value as it was printed (also nan and inf, which a loss may become); None: it is no number."""
    if isinstance(value, float):
        return value
    return float(value) if isinstance(value, bool) else value if _is_figure(value) else None


def _clock_of(said: Any) -> ProgramStart | None:
    if not isinstance(said, dict) or not isinstance(said.get("boot"), str) or not _is_figure(said.get("offset")):
        return None
    return ProgramStart(boot=said["boot"], offset=said["offset"])


LARGEST = 1 << 63
"""Whole numbers from here on stand in no JSON file of ours."""


def _is_figure(value: Any) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < LARGEST
    return isinstance(value, float) and math.isfinite(value)


def shown_lines(line: str) -> list[str]:
    """What a terminal shows of `line`, one part for each carriage return (progress bars), without colours."""
    return [part for part in _CONTROL.sub("", line).split("\r") if part]


_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07")
"""Colours, cursor movements and window titles (ECMA-48 control sequences)."""

_FIGURE = r"[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)"
_WITH_UNIT = re.compile(rf"\s*({_FIGURE})\s*(?:%|[a-z]+)?\s*", re.IGNORECASE)
_IN_TEXT = re.compile(rf"(?<![\w.,])(?:{_FIGURE})(?![\w,])", re.IGNORECASE)


class _Patterns:
    """Finds events in the text of a foreign program."""

    def __init__(self, external: External) -> None:
        def compiled(pattern: str | None) -> re.Pattern[str] | None:
            return re.compile(pattern, re.IGNORECASE) if pattern else None

        self.ready, self.epoch, self.success = map(compiled, (external.ready, external.epoch, external.success))
        self.metrics = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in external.metrics.items()}
        index = self.epoch.groupindex if self.epoch else {}
        unnamed = [n for n in range(1, (self.epoch.groups if self.epoch else 0) + 1) if n not in index.values()]
        self.number_group = index.get("epoch") or (unnamed[0] if unnamed else None)
        self.count = 0
        self.last: int | None = None
        self.pending: dict[str, float] = {}

    def read(self, line: str, *, first: bool) -> list[TrainingEvent]:
        """The events in one line."""
        now = clock.now()
        found: list[TrainingEvent] = []
        if first and (self.ready.search(line) if self.ready else not self.epoch):
            found.append(TrainingEvent(event="ready", t=now))
        for name, pattern in self.metrics.items():
            for match in pattern.finditer(line):
                value = _number(match.group(1) if pattern.groups else match.group(0), last=not pattern.groups)
                if value is not None:
                    self.pending[name] = value
        ended = self.epoch.search(line) if self.epoch else None
        if ended:
            named = {name: value for name, text in ended.groupdict().items() if (value := _number(text)) is not None}
            named.pop("epoch", None)
            self.pending |= named
            number = self._epoch_number(ended)
            if number is not None:
                found.append(TrainingEvent(event="epoch", t=now, n=number, metrics=dict(self.pending)))
                self.pending = {}
        if self.pending:
            found.append(TrainingEvent(event="metrics", t=now, metrics=dict(self.pending)))
            self.pending = {}
        if self.success and self.success.search(line):
            found.append(TrainingEvent(event="end", t=now, ok=True))
        return found

    def _epoch_number(self, ended: re.Match[str]) -> int | None:
        """The number of the epoch that has ended; None: the line is of the one before again, or of a part of one."""
        if self.number_group is None:
            self.count += 1
            return self.count
        found = re.search(r"\d+(?:\.\d+)?", ended.group(self.number_group) or "")  # 3, [3/10], 3.0
        if found is None:
            self.count += 1
            return self.count
        number = float(found[0])
        if number != int(number) or number == self.last:
            return None  # 0.25, as of programs that count their progress in epochs; or the test's line after the training's
        self.last = int(number)
        return self.last


def _number(text: str | None, *, last: bool = False) -> float | None:
    """The number that `text` is, with or without a unit ("97.5 %"); `last`: the last one in a text ("top-5: 0.9")."""
    found = _IN_TEXT.findall(text or "")[-1:] if last else _WITH_UNIT.fullmatch(text or "")
    return float(found[-1 if last else 1].replace(",", "")) if found else None
