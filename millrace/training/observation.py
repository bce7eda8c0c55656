"""What a training says while it runs: its lines turned into events, and the events into a state.

Our own workloads print events. Foreign programs are read by the patterns of their `External` settings.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millrace.run import clock
from millrace.training.program_clock import ProgramClock
from millrace.training.programs import Program
from millrace.training.settings import External

Event = dict[str, Any]


@dataclass
class Observation:
    """The state of one training process, updated from its output in the thread that reads it."""

    program: Program
    events_file: Path | None = None
    """Where events of a foreign program are written; our own workloads write theirs themselves."""
    on_event: Callable[[Event], None] | None = None
    began_at: float = field(default_factory=clock.now)
    echoed: dict[str, Any] | None = None
    ready_at: float | None = None
    last_sign_at: float = field(default_factory=time.monotonic)
    epochs: list[Event] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    iterations: int = 0
    epochs_done: int = 0
    """The highest epoch told of; after a resume more than were seen."""
    samples_total: int | None = None
    error: Event | None = None
    said_success: bool = False
    peak_rss_bytes: int | None = None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._last_lines: deque[str] = deque(maxlen=60)
        self._patterns = _Patterns(self.program.external) if self.program.external else None
        self._written = self.events_file.open("a", buffering=1) if self.events_file and self._patterns else None
        self._epoch_began = self.began_at
        self.clock = ProgramClock(self.began_at)

    def take_line(self, line: str) -> None:
        """One line of output."""
        self.last_sign_at = time.monotonic()
        self._last_lines.append(line[:2000])
        external = self.program.external
        if external is not None and external.adapter == "regex":
            assert self._patterns is not None
            for event in self._patterns.read(line, first=self.ready_at is None):
                self._take(event)
        elif line.startswith("{") and '"event"' in line:
            try:
                event = json.loads(line)
            except ValueError:
                return
            if isinstance(event, dict) and isinstance(event.get("event"), str):
                self._take(self.clock.translate(event))

    def tail(self) -> str:
        """Its last lines, also when the log could not be written."""
        return "\n".join(self._last_lines)

    def close(self) -> None:
        """No more lines will come."""
        if self._written is not None:
            self._written.close()

    def _take(self, event: Event) -> None:
        with self._lock:
            if self._written is not None:
                self._written.write(json.dumps(event) + "\n")
            self._apply(event)
        if self.on_event is not None:
            self.on_event(event)

    def _apply(self, event: Event) -> None:
        kind = event["event"]
        if kind == "start":
            self.echoed = event.get("hyperparameters")
        elif kind == "ready" and self.ready_at is None:
            self.ready_at = self._epoch_began = event["t"]
        elif kind == "epoch":
            if self.ready_at is None:
                self.ready_at = self.began_at
            event.setdefault("started", self._epoch_began)
            event.setdefault("wall_s", event["t"] - event["started"])
            self._epoch_began = event["t"]
            self.epochs.append(event)
            self.epochs_done = max(self.epochs_done, int(event.get("n", len(self.epochs))))
        elif kind == "error":
            self.error = event
        elif kind == "end" and event.get("ok"):
            self.iterations += 1
            self.said_success = True
            self.epochs_done = max(self.epochs_done, int(event.get("epochs_done", 0)))
        if "samples_total" in event:
            self.samples_total = event["samples_total"]
        if "peak_rss_bytes" in event:
            self.peak_rss_bytes = event["peak_rss_bytes"]
        for name, value in (event.get("metrics") or {}).items():
            if isinstance(value, (int, float)):
                self.metrics[name] = float(value)


class _Patterns:
    """Finds events in the text of a foreign program."""

    def __init__(self, external: External) -> None:
        def compiled(pattern: str | None) -> re.Pattern[str] | None:
            return re.compile(pattern, re.IGNORECASE) if pattern else None

        self.ready, self.epoch, self.success = map(compiled, (external.ready, external.epoch, external.success))
        self.metrics = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in external.metrics.items()}
        self.count = 0
        self.pending: dict[str, float] = {}

    def read(self, line: str, *, first: bool) -> list[Event]:
        """The events in one line."""
        now = clock.now()
        found: list[Event] = []
        if first and (self.ready.search(line) if self.ready else not self.epoch):
            found.append({"event": "ready", "t": now})
        for name, pattern in self.metrics.items():
            for match in pattern.finditer(line):
                value = _number(match.group(1) if pattern.groups else match.group(0))
                if value is not None:
                    self.pending[name] = value
        ended = self.epoch.search(line) if self.epoch else None
        if ended:
            self.count += 1
            number = _number(ended.group(1)) if self.epoch and self.epoch.groups else None
            named = {name: value for name, text in ended.groupdict().items() if (value := _number(text)) is not None}
            metrics = self.pending | named
            found.append({"event": "epoch", "t": now, "n": int(number) if number is not None else self.count, "metrics": metrics})
            self.pending = {}
        elif self.pending:
            found.append({"event": "metrics", "t": now, "metrics": self.pending})
            self.pending = {}
        if self.success and self.success.search(line):
            found.append({"event": "end", "t": now, "ok": True})
        return found


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
