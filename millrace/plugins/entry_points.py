"""Plug-ins of other packages: entry points whose group is the dotted path of the folder that they join.

    [project.entry-points."millrace.probing.baselines"]
    my_model = "my_package.my_model"

Those of installed packages count, and those that the `pyproject.toml` of a folder on the module path declares (the folder that a
command is run in, one named by PYTHONPATH, a checkout of Millrace itself), so that a project needs no installation to be found.

Where plug-ins are data (claim sets, routes, wordings), `my_package.objects` is the file `my_package/objects.yaml`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

LIBRARY = Path(__file__).parents[2]
"""Where the library lies: a checkout of it has a `pyproject.toml` there, an installed copy has none."""


def entry_points(group: str) -> Mapping[str, str]:
    """Name → dotted path of a module, sorted by name. One whose module is gone is left out."""
    return _modules(group, tuple(sys.path))


def data_entry_points(group: str, ending: str) -> dict[str, Path]:
    """Name → file, for a group whose plug-ins are files with this ending. One whose file is gone is left out."""
    files = {name: _file(path, ending) for name, path in _declared(group, tuple(sys.path)).items()}
    return {name: file for name, file in files.items() if file is not None}


@lru_cache(maxsize=64)
def _modules(group: str, module_path: tuple[str, ...]) -> Mapping[str, str]:
    return {name: module for name, module in _declared(group, module_path).items() if module_exists(module)}


@lru_cache(maxsize=64)
def _declared(group: str, module_path: tuple[str, ...]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for folder in dict.fromkeys((LIBRARY, *(Path(place) for place in module_path))):
        for name, value in _of_project(folder.absolute()).get(group, {}).items():
            found.setdefault(name, value)
    for point in importlib.metadata.entry_points(group=group):
        found.setdefault(point.name, point.value)
    return {name: found[name] for name in sorted(found)}


@lru_cache(maxsize=64)
def _of_project(folder: Path) -> Mapping[str, dict[str, str]]:
    """What the project in `folder`, or around it where it is a project's `src`, declares; nothing where there is none."""
    file = (folder.parent if folder.name == "src" else folder) / "pyproject.toml"
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}
    groups: dict[str, dict[str, str]] = project.get("entry-points", {})
    return groups


def module_exists(module: str) -> bool:
    """Whether a module of this dotted name can be found, its package among what can. Imports only the package."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _file(path: str, ending: str) -> Path | None:
    parent, _, name = path.rpartition(".")
    try:
        spec = importlib.util.find_spec(parent) if parent else None
    except (ImportError, ValueError):
        return None
    folders = (spec.submodule_search_locations if spec is not None else None) or (() if parent else sys.path)
    return next((file for folder in folders if (file := Path(folder) / f"{name}.{ending}").is_file()), None)
