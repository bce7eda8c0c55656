"""The options `--plugin` and `--plugin-settings` of pytest, for `python -m millrace.testing`. They import nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("millrace", "checking a plug-in of Millrace: --pyargs millrace.testing --plugin my_package.my_module")
    group.addoption("--plugin", metavar="[KIND:]MODULE", help="dotted path of the plug-in to check")
    group.addoption("--plugin-settings", metavar="YAML", help="settings that it needs: a mapping, or a .yaml file of it")


def pytest_configure(config: pytest.Config) -> None:
    """Find modules in the folder that pytest was called in, as `python -m` does."""
    if config.getoption("--plugin") and (here := str(config.invocation_params.dir)) not in sys.path:
        sys.path.append(here)
