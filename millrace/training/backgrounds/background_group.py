"""The backgrounds of one run together: started in order, waited for, paused and adjusted, stopped all at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from millrace.errors import ItemFailed
from millrace.records.training.backgrounds import BackgroundReport
from millrace.training.backgrounds.background import BackgroundLoop
from millrace.training.programs import load_program
from millrace.training.settings import Background, TrainingConfig

DUTY_PERIOD_S = 0.5
"""Length of one on-off turn of a background that gets part of the time."""


class Backgrounds:
    """Context manager: on leaving, all are stopped in parallel and nothing of them is left."""

    def __init__(self, settings: Sequence[Background], config: TrainingConfig, folder: Path) -> None:
        self.loops = [
            BackgroundLoop(
                background,
                load_program(background.workload, config),
                folder / str(background.id),
                seed=config.seed,
                data=config.data,
            )
            for background in settings
        ]
        self.level = 1.0
        self.stop_s: float | None = None
        """How long stopping took; None: not stopped yet."""
        self._duty: threading.Thread | None = None
        self._switching = threading.Lock()
        """Held while the level or a background's state changes, so that a turn of the duty cycle never outlives its level."""
        self._stopped = threading.Event()

    def __enter__(self) -> Backgrounds:
        try:
            for loop in self.loops:
                loop.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self, why: str = "") -> None:
        """Stop all of them at the same time."""
        if self.stop_s is not None or not self.loops:
            return
        began = time.monotonic()
        self._stopped.set()
        if self._duty is not None:
            self._duty.join()
        with ThreadPoolExecutor(len(self.loops)) as pool:
            list(pool.map(lambda loop: loop.stop(why), self.loops))
        self.stop_s = time.monotonic() - began

    def wait_until_training(self) -> None:
        """Until every required one is training, and each other one has had its chance.

        Raises:
            ItemFailed: a required one is lost, or does not get ready in time.
        """
        began = time.monotonic()
        while True:
            self.check()
            waiting = [loop for loop in self.loops if loop.state not in {"training", "fatal", "finished"}]
            late = [loop for loop in waiting if time.monotonic() - began > _patience(loop.settings)]
            for loop in late:
                if loop.settings.required:
                    raise ItemFailed("not_ready", f"background {loop.id} was not training after {_patience(loop.settings):.0f} s")
            if len(waiting) == len(late):
                return
            time.sleep(0.02)

    def check(self) -> None:
        """Whether every required background is still there.

        Raises:
            ItemFailed: one is lost.
        """
        for loop in self.loops:
            if loop.lost and loop.settings.required:
                raise ItemFailed(
                    "background_lost", f"the required background {loop.id} was given up: {loop.record.detail or 'see its log'}"
                )

    def set_level(self, level: float) -> None:
        """How much of the load is on, 0 (all paused) to 1: so many whole backgrounds, and one for part of the time."""
        with self._switching:
            self.level = level
            share = level * len(self.loops)
            for number, loop in enumerate(self.loops):
                if number + 1 <= share + 1e-9:
                    loop.resume()
                elif number >= share:
                    loop.pause()
        if abs(share - round(share)) > 1e-9 and self._duty is None:
            self._duty = threading.Thread(target=self._alternate, daemon=True, name="duty cycle")
            self._duty.start()

    def _alternate(self) -> None:
        while not self._stopped.is_set():
            share = self.level * len(self.loops)
            number, part = int(share + 1e-9), share - int(share + 1e-9)
            if number >= len(self.loops) or part < 1e-9:
                self._stopped.wait(DUTY_PERIOD_S)
                continue
            self._turn(share, self.loops[number].resume)
            self._stopped.wait(DUTY_PERIOD_S * part)
            self._turn(share, self.loops[number].pause)
            self._stopped.wait(DUTY_PERIOD_S * (1 - part))

    def _turn(self, share: float, switch: Callable[[], None]) -> None:
        """Switch, unless the level was changed meanwhile."""
        with self._switching:
            if self.level * len(self.loops) == share:
                switch()

    def samples_between(self, start: float, end: float) -> float | None:
        """Samples of all together; None when one of them does not say."""
        counts = [loop.samples_between(start, end) for loop in self.loops]
        known = [count for count in counts if count is not None]
        return sum(known) if counts and len(known) == len(counts) else None

    def cpu_s(self) -> float:
        """CPU time of all together."""
        return sum(loop.cpu_s() for loop in self.loops)

    def report(self, start: float, end: float) -> list[BackgroundReport]:
        """What each background did, with its overlap with the time from `start` to `end` (seconds since the epoch)."""
        return [loop.report(start, end) for loop in self.loops]


def _patience(settings: Background) -> float:
    """How long a background may take until it trains: its start, its readiness, and what its restarts may wait."""
    restart = settings.restart
    waits = [min(restart.backoff_s * 1.2 * 2.0**n, restart.backoff_limit_s) for n in range(restart.max_failures - 1)]
    return settings.start_after_s + settings.ready_timeout_s + min(sum(waits), restart.window_s)
