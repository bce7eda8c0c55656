"""When a background is started again, and when it is given up: a state machine without clocks or processes of its own."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from millrace.training.settings import Restart


@dataclass
class RestartPolicy:
    """Back-off with jitter, and a circuit breaker.

    After a failure the wait doubles, up to its limit; a training that was healthy for long enough starts from the beginning.
    `max_failures` failures within the window open the breaker: `fatal`, no more starts.
    """

    settings: Restart
    jitter: random.Random
    failures: list[float] = field(default_factory=list)
    streak: int = 0
    fatal: bool = False

    def after_exit(self, now: float, *, failed: bool, trained_s: float) -> float | None:
        """How long to wait before the next start, in seconds; None: there is none (finished or fatal).

        Args:
            now: the time, on any clock that only goes forward.
            failed: whether this ending counts as a failure.
            trained_s: how long it had been training.
        """
        settings = self.settings
        if not failed:
            self.streak = 0
            return 0.0 if settings.policy == "always" else None
        if settings.policy == "never":
            self.fatal = True
            return None
        if trained_s >= settings.healthy_s:
            self.streak = 0
        self.failures = [at for at in self.failures if now - at < settings.window_s] + [now]
        if len(self.failures) >= settings.max_failures:
            self.fatal = True
            return None
        wait = min(settings.backoff_s * 2.0**self.streak, settings.backoff_limit_s)
        self.streak += 1
        return wait * (1.0 + 0.2 * self.jitter.random())
