"""What all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import hypothesis
import pytest

from tests.durations import Durations

pytest_plugins = ["tests.fixtures.lakes", "tests.fixtures.questions", "tests.fixtures.running_services"]


# a test asserts what is true, not how fast a shared machine finds it out
hypothesis.settings.register_profile("millrace", deadline=None)
hypothesis.settings.load_profile("millrace")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What tests/durations.py does."""
    parser.addoption("--durations-file", metavar="FILE", help="write to FILE what each test file took")
    parser.addoption(
        "--cpu-budget", action="store_true", help="fail when the tests take more CPU time than tests/durations.py allows"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Hear Ctrl-C, and have children hear it: a shell that runs the tests in the background has had SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(Durations(config), "durations")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache folder for the flows of all testing processes, so that lakes and the database template are made once."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "cache"
    folder.mkdir(exist_ok=True)
    return folder
