"""What one background has done over all its processes: its times, samples, ends and costs."""

from __future__ import annotations

from collections import Counter

from millrace.processes.supervised import Ending
from millrace.records.training.backgrounds import BackgroundEnd, BackgroundReport, ContainmentInForce
from millrace.records.training.events import Number, State, TrainingEvent
from millrace.run import clock
from millrace.training.backgrounds.colocation import mean_of
from millrace.training.backgrounds.spans import Spans
from millrace.training.observation import Observation
from millrace.training.settings import Background

PARTS = 8
"""Into how many parts a background's time in training is cut, to see how steady it was: enough for Student's interval not to be
wide by its few values alone (2.4 standard errors), few enough for a part to hold several of its samples' reports."""


class BackgroundRecord:
    """Counts what a `BackgroundLoop` sees. It decides nothing, starts nothing and writes no file.

    Not thread-safe: the loop holds its lock around every call. One lock for both, because a process that ends has to stop
    being the running one and become an end at the same moment, or it is counted twice or not at all.
    """

    def __init__(self, settings: Background) -> None:
        self.settings = settings
        self.state: State = "waiting"
        self.spans = Spans()
        """When it was really training."""
        self.detail = ""
        """Why it last failed, or was stopped."""
        self.ends: list[BackgroundEnd] = []
        """Its processes that have ended, or could not be started."""
        self.cpu_s = 0.0
        """Of the processes that have ended."""
        self.containment: ContainmentInForce | None = None
        self._state_s: dict[str, float] = {}
        self._first_ready_s: float | None = None
        self._points: list[tuple[float, float]] = []
        self._samples = 0.0
        self._iterations = self._epochs = self._log_bytes = 0
        self._peak: Number | None = None
        self.begin()

    def begin(self) -> None:
        """Its time begins now."""
        self._began = self._state_since = clock.now()

    def enter(self, state: State) -> float:
        """It is in another state from now on; returns when that was."""
        now = clock.now()
        self._state_s = self._state_times(now)
        self.spans.switch(state == "training", now)
        self.state, self._state_since = state, now
        return now

    def take(self, event: TrainingEvent) -> None:
        """What the running process says of itself."""
        if event.event == "ready" and self.state == "starting":
            if self._first_ready_s is None:
                self._first_ready_s = event.at - self._began
            self._points.append((event.at, self._samples))
        if event.samples_total is not None:
            self._points.append((event.at, self._samples + event.samples_total))

    def go_on(self) -> None:
        """It trains again after a pause, in which it had no samples."""
        if self._points:
            self._points.append((clock.now(), self._points[-1][1]))

    def add_end(self, seen: Observation, ending: Ending, *, cause: str, began: float, trained_s: float) -> None:
        """A process has ended."""
        if seen.program.external is None:
            self._iterations += seen.iterations
        else:  # of a foreign program it is known only that it ended well
            self._iterations += int(cause in {"completed", "ended_at_once"})
        self._samples += seen.samples_total or 0
        self._epochs += len(seen.epochs)
        self.cpu_s += ending.cpu_s or 0.0
        self._log_bytes += ending.log_bytes or 0
        self._peak = max(filter(None, [self._peak, ending.peak_bytes, seen.peak_rss_bytes]), default=None)
        self.ends.append(
            BackgroundEnd(
                number=len(self.ends) + 1,
                cause=cause,
                returncode=ending.returncode,
                began=began,
                trained_s=trained_s,
                samples=seen.samples_total,
                epochs=len(seen.epochs),
                killed=ending.killed,
                leftover=ending.leftover,
                detail=self.detail if cause not in {"completed", "stopped"} else "",
            )
        )

    def add_failed_start(self, cause: str) -> None:
        """No process could be started."""
        self.ends.append(
            BackgroundEnd(number=len(self.ends) + 1, cause=cause, returncode=None, trained_s=0.0, detail=self.detail)
        )

    def samples_between(self, start: float, end: float) -> float | None:
        """Samples it trained on between two times (seconds since the epoch), by interpolation; None: it never says."""
        if len(self._points) < 2:
            return None
        return interpolate(self._points, end) - interpolate(self._points, start)

    def report(self, running: Observation | None, cpu_s: float, start: float, end: float) -> BackgroundReport:
        """Everything counted, with what the `running` process has done so far; overlap is with the time from `start` to `end`."""
        samples = self._samples + ((running.samples_total or 0) if running else 0)
        causes = Counter(one.cause for one in self.ends if one.cause != "stopped")
        return BackgroundReport(
            id=str(self.settings.id),
            workload=self.settings.workload,
            hyperparameters=self.settings.hyperparameters,
            required=self.settings.required,
            state=self.state,
            detail=self.detail,
            first_ready_s=self._first_ready_s,
            starts=len(self.ends) + (running is not None),
            iterations=self._iterations + (running.iterations if running else 0),
            epochs=self._epochs + (len(running.epochs) if running else 0),
            samples=samples if self._points else None,
            restarts_by_cause=dict(causes),
            ends=list(self.ends),
            state_s=self._state_times(clock.now()),
            cpu_s=cpu_s,
            peak_bytes=self._peak,
            log_bytes=self._log_bytes,
            overlap_fraction=self.spans.overlap(start, end) / (end - start) if end > start else None,
            gaps=self.spans.gaps(start, end),
            containment=self.containment,
            samples_per_s=mean_of(self._rates(start, end), "it did not train meanwhile, or does not say its samples"),
        )

    def _rates(self, start: float, end: float) -> list[float]:
        """Its samples per second in equal parts of the time in which it trained."""
        rates = []
        for part in self.spans.parts(start, end, PARTS):
            counts = [self.samples_between(*stretch) for stretch in part]
            known = [count for count in counts if count is not None]
            if len(known) < len(counts):
                return []
            rates.append(sum(known) / sum(last - first for first, last in part))
        return rates

    def _state_times(self, now: float) -> dict[str, float]:
        return self._state_s | {self.state: self._state_s.get(self.state, 0.0) + now - self._state_since}


def interpolate(points: list[tuple[float, float]], at: float) -> float:
    """The value at time `at` on the line through `points` (by time); outside it is the nearest end's."""
    before = max((point for point in points if point[0] <= at), default=points[0])
    after = min((point for point in points if point[0] >= at), default=points[-1])
    if after[0] <= before[0]:
        return before[1]
    return before[1] + (after[1] - before[1]) * (at - before[0]) / (after[0] - before[0])
