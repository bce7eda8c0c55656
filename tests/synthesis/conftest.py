"""What several test files of synthesis need: small runs, environments that are closed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace.synthesis.environments import Environment
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.toolset import open_environment
from millrace.synthesis.work_shard import close_environments

NAMES = ("math", "python", "rag", "web")
CUSTOM = "configs.synthesis.calendar_world"


@pytest.fixture(autouse=True)
def _closed_afterwards() -> Iterator[None]:
    yield
    close_environments()


@pytest.fixture
def opened() -> Iterator[Callable[..., Environment]]:
    """Opens environments by name; closes them when the test ends."""
    held: list[Environment] = []

    def make(name: str, **settings: Any) -> Environment:
        held.append(open_environment(SynthesisConfig(environment_mode=name, **settings)))
        return held[-1]

    yield make
    for environment in held:
        environment.close()


@pytest.fixture
def small_config() -> Callable[..., SynthesisConfig]:
    """A config with a small tree."""

    def make(name: str, **settings: Any) -> SynthesisConfig:
        return SynthesisConfig(
            **{
                "environment_mode": name,
                "max_depth": 4,
                "branching_factor": 2,
                "depth_threshold": 2,
                "number_of_seed": 6,
                **settings,
            }
        )

    return make


def shipped(name: str) -> Path:
    """A config of the repository."""
    return Path(__file__).parents[2] / "configs" / "synthesis" / f"{name}.yaml"
