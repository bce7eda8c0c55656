"""The foreground's epochs as measuring windows: what ran beside each, what it cost, and what load comes next."""

from __future__ import annotations

from millrace.processes.supervised import SupervisedProcess
from millrace.records.training.backgrounds import LoadChange
from millrace.records.training.comparison import Epoch, WindowLoad
from millrace.records.training.events import TrainingEvent
from millrace.run import clock
from millrace.training.backgrounds.background_group import Backgrounds
from millrace.training.backgrounds.colocation import LoadController, load_of, wanted_load
from millrace.training.experiments import PlannedRun
from millrace.training.judgement import Verdict
from millrace.training.machine import Load, load_now, load_of_others
from millrace.training.meter import EnergyMeter, Snapshot, total
from millrace.training.settings import TrainingConfig

RENEW_EVERY = 10
"""When the load is steered, every so many epochs one is solo, to renew the baseline."""


class Windows:
    """Turns epoch events into records and switches the backgrounds between them.

    A training says that an epoch has ended after its evaluation and goes on at once; what runs beside it changes within
    milliseconds of that.
    """

    def __init__(
        self, run: PlannedRun, config: TrainingConfig, meter: EnergyMeter, process: SupervisedProcess, beside: Backgrounds
    ) -> None:
        self.epochs: list[Epoch] = []
        self.changes: list[LoadChange] = []
        self.lost: Verdict | None = None
        self.run_delay_s: float | None = None
        self.background_cpu_before = beside.cpu_s()
        self._config, self._meter, self._process, self._beside = config, meter, process, beside
        self._threads = run.job.resources.threads
        limit = config.colocation.max_foreground_slowdown
        self._controller = (
            LoadController(limit, config.colocation.dwell_epochs, 0.25 / max(1, len(beside.loops)))
            if limit and beside.loops
            else None
        )
        self._mark()

    def begin(self) -> None:
        """The foreground is ready: the first window begins."""
        self._mark()

    def close(self, event: TrainingEvent) -> None:
        """An epoch has ended: write it down and prepare the next."""
        before, load_before, cpu_before, background_before, since = self._start
        now, snapshot, load = clock.now(), self._meter.snapshot(), load_now()
        cpu, background_cpu = self._process.usage().cpu_s, self._beside.cpu_s()
        assert event.started is not None and event.wall_s is not None, "the observation knows both of every epoch"  # noqa: PT018
        number = len(self.epochs) + 1 if event.n is None else int(event.n)
        start, end = event.started, event.at
        overlaps = [loop.overlap_s(start, end) / max(end - start, 1e-9) for loop in self._beside.loops]
        overlap = sum(overlaps) / len(overlaps) if overlaps else 0.0
        wanted = self._wanted(len(self.epochs) + 1)
        ours = cpu - cpu_before + background_cpu - background_before
        measured = total(self._meter.between(before, snapshot)).get("measured")
        self.epochs.append(
            Epoch(
                n=number,
                load=load_of(overlap, wanted) if self._beside.loops else ("warm_up" if not self.epochs else "solo"),
                overlap=overlap,
                level=self._beside.level if self._beside.loops else None,
                started=start,
                window_s=now - since,
                wall_s=event.wall_s,
                cpu_s=event.cpu_s,
                threads=self._threads,
                foreground_cpu_s=cpu - cpu_before,
                samples=event.samples,
                loss=event.loss,
                metrics=dict(event.metrics or {}),
                background_samples=self._beside.samples_between(start, start + event.wall_s),
                energy_j=measured,
                background_cpu_s=background_cpu - background_before,
                background_window_samples=self._beside.samples_between(since, now),
                host=load_of_others(load_before, load, ours),
            )
        )
        self._prepare(len(self.epochs) + 1)
        self._mark()

    def _wanted(self, index: int) -> WindowLoad:
        colocation = self._config.colocation
        if colocation.windows == "shared":
            return "warm_up" if index == 1 else "shared"
        if self._controller is not None:
            # A few solo epochs to compare with, then the load is ours to steer; the baseline is renewed, for machines drift.
            first = index <= 1 + colocation.dwell_epochs
            return "warm_up" if index == 1 else "solo" if first or index % RENEW_EVERY == 0 else "shared"
        return wanted_load(index, colocation.epochs_per_window)

    def _prepare(self, index: int) -> None:
        if not self._beside.loops or self.lost is not None:
            return
        wanted = self._wanted(index)
        if wanted == "solo":
            self._set(0.0, "solo window")
        elif self._controller is None:
            self._set(1.0, "shared window")
        else:
            self._steer()

    def _steer(self) -> None:
        assert self._controller is not None
        if self._beside.level != self._controller.level:
            self._set(self._controller.level, "the solo baseline is complete")
            return
        solo = [epoch.wall_s for epoch in self.epochs if epoch.load == "solo"][-self._config.colocation.dwell_epochs :]
        last = self.epochs[-1]
        if solo:
            change = self._controller.after_epoch(last.wall_s / (sum(solo) / len(solo)))
            if change:
                self._set(*change)

    def _set(self, level: float, why: str) -> None:
        if level == self._beside.level:
            return
        self._beside.set_level(level)
        self.changes.append(LoadChange(t=clock.now(), level=level, why=why))

    def _mark(self) -> None:
        self._start: tuple[Snapshot, Load, float, float, float] = (
            self._meter.snapshot(),
            load_now(),
            self._process.usage().cpu_s,
            self._beside.cpu_s(),
            clock.now(),
        )
