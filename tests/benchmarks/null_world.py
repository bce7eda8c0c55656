"""An environment without anything in it: what a run costs when its seeds cost nothing."""

from __future__ import annotations

import random
from typing import Any

from millrace.synthesis.environments import Start


class NullEnvironment:
    """No tools, no operators: every tree is its root."""

    name = "null"
    concurrent = False
    tools: dict[str, Any] = {}
    replay_tools: dict[str, Any] = {}
    operators: dict[str, Any] = {}
    verifier = None
    frames = {"en": {}, "zh": {}}
    versions = {"null": "1"}

    def start(self, seed: str, rng: random.Random) -> Start:
        return Start(kind="nothing", value=seed, match="text")

    def close(self) -> None:
        return


def open_environment() -> NullEnvironment:
    return NullEnvironment()
