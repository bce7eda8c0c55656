"""`python -m millrace.testing my_package.my_module`: pytest with the contract tests of this package and its own options."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a plug-in; returns pytest's exit code, 2 where pytest is not installed."""
    parser = argparse.ArgumentParser(prog="python -m millrace.testing", description="Checks a plug-in against its contract.")
    parser.add_argument("plugin", metavar="[KIND:]MODULE", help="dotted path of the plug-in")
    parser.add_argument("--settings", metavar="YAML", help="settings that it needs: a mapping, or a .yaml file of it")
    told, further = parser.parse_known_args(arguments)
    if importlib.util.find_spec("pytest") is None:
        sys.stderr.write("checking a plug-in needs pytest: pip install 'millrace[testing]'\n")
        return 2
    import pytest

    given = ["--plugin", told.plugin, *(["--plugin-settings", told.settings] if told.settings else [])]
    return int(pytest.main(["-p", "millrace.testing.pytest_plugin", "--pyargs", "millrace.testing", *given, *further]))


if __name__ == "__main__":
    sys.exit(main())
