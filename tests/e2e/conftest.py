"""What the end-to-end tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


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
