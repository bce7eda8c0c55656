"""A calendar whose seeds may end the process that works on them: `poison exit` leaves, `poison kill` is killed."""

from __future__ import annotations

import os
import random
import signal

from configs.synthesis.calendar_world import CalendarEnvironment
from millrace.synthesis.environments import Start


class PoisonEnvironment(CalendarEnvironment):
    """Deadly for some seeds."""

    def start(self, seed: str, rng: random.Random) -> Start:
        if seed == "poison exit":
            os._exit(9)
        if seed == "poison kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().start(seed, rng)


def open_environment() -> PoisonEnvironment:
    """The environment."""
    return PoisonEnvironment()
