"""A baseline trained in small, made once for all tests of a session, also under xdist."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tasks.probing.baselines.embedded import BaselineSettings, EmbeddedBaseline, open_baseline
from tasks.probing.train import ensure_trained

TINY = BaselineSettings(scenes=32, epochs=1, reader_steps=3, threads=1)
"""Trains in a second or two and has learned next to nothing."""


@pytest.fixture(scope="session")
def small_settings(tmp_path_factory: pytest.TempPathFactory) -> BaselineSettings:
    """Settings with the checkpoint of a model that has learned for about 15 seconds."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base  # one for all of xdist's workers: the cache has a lock
    learning = BaselineSettings(scenes=300, epochs=4, reader_steps=160, threads=1)
    return BaselineSettings(checkpoint=ensure_trained(learning, cache=shared / "small-baseline"))


@pytest.fixture(scope="session")
def small_baseline(small_settings: BaselineSettings) -> EmbeddedBaseline:
    """The same, loaded."""
    return open_baseline(small_settings)


@pytest.fixture(scope="session")
def tiny_trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the model of `TINY` in it; not to be changed."""
    cache = tmp_path_factory.mktemp("tiny")
    ensure_trained(TINY, cache=cache)
    return cache


@pytest.fixture
def tiny_cache(tiny_trained: Path, tmp_path: Path) -> Path:
    """A copy of it, for a test to spoil."""
    return shutil.copytree(tiny_trained, tmp_path / "cache")
