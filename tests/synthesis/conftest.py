"""What several test files of synthesis need: small runs, environments that are closed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace.config import load_config
from millrace.synthesis.environments import Environment
from millrace.synthesis.runs.synthesis_run import run_serially
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.toolset import open_environment
from millrace.synthesis.work_shard import close_environments

NAMES = ("math", "python", "rag", "web")
PRESET_SEEDS = 12
"""Of `preset_run`: both languages, in about two seconds."""

CUSTOM = "configs.synthesis.calendar_world"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is marked `whole` runs only when it is asked for."""
    if "whole" not in config.getoption("-m"):
        left_out = [item for item in items if item.get_closest_marker("whole")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True, scope="module")
def _closed_afterwards() -> Iterator[None]:
    yield
    close_environments()


@pytest.fixture(scope="session")
def _held() -> Iterator[dict[str, Environment]]:
    """Environments that tests share: a tools' process takes a second to start."""
    held: dict[str, Environment] = {}
    yield held
    for environment in held.values():
        environment.close()


@pytest.fixture
def opened(_held: dict[str, Environment]) -> Iterator[Callable[..., Environment]]:
    """Opens environments by name, shared with other tests; `fresh` ones are this test's own and closed when it ends."""
    own: list[Environment] = []

    def make(name: str, *, fresh: bool = False, **settings: Any) -> Environment:
        config = SynthesisConfig(environment_mode=name, **settings)
        if fresh:
            own.append(open_environment(config))
            return own[-1]
        key = f"{name} {settings}"
        if key not in _held:
            _held[key] = open_environment(config)
        return _held[key]

    yield make
    for environment in own:
        environment.close()


@pytest.fixture(scope="session")
def preset_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a run of a shipped preset on its first seeds, made once for all tests that only read it."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            folder = tmp_path_factory.mktemp(f"preset-{name}")
            run_serially(load_config(SynthesisConfig, shipped(name), [f"number_of_seed={PRESET_SEEDS}"]), folder)
            made[name] = folder
        return made[name]

    return make


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
