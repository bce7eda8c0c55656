"""Plug-ins of installed packages: entry points whose group is the dotted path of the folder that they join.

    [project.entry-points."millrace.probing.baselines"]
    my_model = "my_package.my_model"

In a checkout that is not the installed copy, the entry points of its own `pyproject.toml` count as well, so that a branch needs
no installation to find what it declares.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent.parent / "pyproject.toml"
"""Beside the library where it lies in a checkout; an installed copy has none."""


@lru_cache(maxsize=64)
def entry_points(group: str) -> Mapping[str, str]:
    """Name → dotted path of a module, sorted by name. One whose module is gone is left out."""
    found = dict(_of_checkout().get(group, {}))
    found |= {point.name: point.value for point in importlib.metadata.entry_points(group=group) if point.name not in found}
    return {name: found[name] for name in sorted(found) if module_exists(found[name])}


@lru_cache(maxsize=1)
def _of_checkout() -> Mapping[str, dict[str, str]]:
    if not CHECKOUT.is_file():
        return {}
    project = tomllib.loads(CHECKOUT.read_text(encoding="utf-8")).get("project", {})
    groups: dict[str, dict[str, str]] = project.get("entry-points", {}) if project.get("name") == "millrace" else {}
    return groups


def module_exists(module: str) -> bool:
    """Whether a module of this dotted name can be found, its package among what can. Imports only the package."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
