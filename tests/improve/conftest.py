"""A small world for the tests of `improve`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import to_builtins

from millrace.improve.settings import ImproveSettings
from millrace.improve.stage import Improve
from millrace.run.local import open_local_run
from tests.improve.fake_world import FakeAsks, lake_of, probed_run

Do = Callable[..., dict[str, Any]]


BETTER = {"targeted": 0.15, "untargeted": 0.25, "untargeted_again": 0.25, "shuffled": 0.45}
"""What models fail at in a world where the data helps, and targeting too."""
TEST_IMAGES = 50


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(a probed run's folder, a folder of test images): to be copied."""
    root = tmp_path_factory.mktemp("world")
    return probed_run(root), lake_of(root / "test", 1000, TEST_IMAGES)


@pytest.fixture(scope="session")
def done(made: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in the world of `BETTER`: to be read, or copied."""
    run_dir = tmp_path_factory.mktemp("done") / "run"
    shutil.copytree(made[0], run_dir)
    (run_dir / "dataset").mkdir()
    (run_dir / "dataset" / "README.md").write_text("# Data\n\n## Limits\n\nMany.\n")
    do_in(run_dir, made[1])(BETTER, claims={"place": 0.5})
    return run_dir


@pytest.fixture
def world(made: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """(a probed run's folder, a folder of test images)."""
    shutil.copytree(made[0], tmp_path / "run")
    return tmp_path / "run", made[1]


@pytest.fixture
def do(world: tuple[Path, Path]) -> Do:
    """Does the stage in the world: `do(fails={"targeted": 0.2}, …settings)`; returns its summary."""
    return do_in(*world)


def do_in(run_dir: Path, test: Path) -> Do:
    """The same in any folder."""

    def run_stage(
        fails: dict[str, float] | None = None, claims: dict[str, float] | None = None, **changes: Any
    ) -> dict[str, Any]:
        workers = changes.pop("workers", 1)
        trainer = {"name": "tests.improve.instant_trainer", "fails": fails or {}, "claims": claims or {}}
        settings = ImproveSettings(**{"images": 20, "seeds": 3, "trainer": trainer, **changes})
        stage = Improve(settings, FakeAsks(test))
        stage.check(run_dir, [])
        with open_local_run("improve", {"improve": settings}, run_dir, workers) as run:
            summary = run.do(stage)
            run.finish([stage])
        return {**to_builtins(summary), "short": stage.name in run.short}

    return run_stage
