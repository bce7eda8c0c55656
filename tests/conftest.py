"""What all tests share."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import hypothesis
import pytest

from tests.durations import Durations

pytest_plugins = ["tests.fixtures.lakes", "tests.fixtures.questions", "tests.fixtures.running_services"]


# a test asserts what is true, not how fast a shared machine finds it out
hypothesis.settings.register_profile("millrace", deadline=None)
hypothesis.settings.load_profile("millrace")


QUIET_DASK = {
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
    "DASK_DISTRIBUTED__ADMIN__TICK__CYCLE": "10s",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "10s",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}
"""How often Dask looks at itself. By its defaults (every 10, 20 and 500 ms) a scheduler with two workers and their nannies takes
11 % of a core while it has nothing to do; with these 3 % (measured over 15 s)."""


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
    # children compile every module of ours anew where an environment forbids to keep what was compiled: 0.6 s CPU for each run
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        sys.dont_write_bytecode = False
    for name, value in QUIET_DASK.items():
        os.environ.setdefault(name, value)
    config.pluginmanager.register(Durations(config), "durations")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache folder for the flows of all testing processes, so that lakes and the database template are made once."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "cache"
    folder.mkdir(exist_ok=True)
    return folder
