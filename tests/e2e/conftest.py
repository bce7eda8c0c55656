"""What the end-to-end tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.commands import run


@pytest.fixture(scope="session")
def coin_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A main job in small: 80 images, a baseline that tosses coins."""
    path = tmp_path_factory.mktemp("config") / "coin.yaml"
    path.write_text(
        "probing:\n"
        "  baseline: {name: tests.probing.coin_baseline}\n"
        "  lake: {images: 80}\n"
        "  target_failure_count: 160\n"
        "  failure_batch_size: 8\n"
        "filtering: {failures_per_image: null, quota: 12, shard_size: 30}\n"
    )
    return path


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache: Path, coin_config: Path) -> Path:
    """Its finished run, without Prefect and Dask: 2 ranks and 1 worker."""
    folder = tmp_path_factory.mktemp("full") / "run"
    arguments = ("--config", str(coin_config), "--run-dir", str(folder), "--set", "cluster=none", "--set", "cluster.workers=1")
    code, printed = run("full", *arguments, cache=cache)
    assert code == 0, printed
    return folder
