"""Plug-ins: one file in a folder is one choice in a config.

The file's name is its name in a config, in an error message and in the form's drop-down; a dotted path names the user's own
module instead, and an installed package adds modules by entry points (`entry_points`). A file whose name starts with an
underscore is not a plug-in.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from millrace.config import Settings, parse_config
from millrace.errors import UsageError, did_you_mean
from millrace.plugins.entry_points import entry_points


def plugin_names(package: str) -> list[str]:
    """The names found in the folder of `package` (a dotted path) and among its entry points, sorted. Imports none of them."""
    return sorted({*_in_folder(package), *entry_points(package)})


def _in_folder(package: str) -> list[str]:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ValueError(f"{package} is not a package")
    return [found.name for found in pkgutil.iter_modules(spec.submodule_search_locations) if not found.name.startswith("_")]


def plugin_files(package: str, ending: str) -> list[Path]:
    """The files with this ending in the folder of `package`, sorted: plug-ins that are data, such as claim sets."""
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    return sorted(path for folder in folders or () for path in Path(folder).glob(f"*.{ending}"))


def load_plugin(package: str, name: str, kind: str) -> ModuleType:
    """Import the plug-in `name` of `package`, or the user's own module when `name` has a dot in it.

    `kind` is the word for the message: "environment", "baseline".

    Raises:
        UsageError: nothing is called that, or the user's module cannot be imported.
    """
    if name in _in_folder(package):
        return importlib.import_module(f"{package}.{name}")
    if name in entry_points(package):
        return importlib.import_module(entry_points(package)[name])
    if "." not in name:
        raise UsageError(f"no {kind} named '{name}'{did_you_mean(name, plugin_names(package))}")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f"the {kind} '{name}' cannot be imported ({error}); is its folder on PYTHONPATH?") from error


def plugin_settings(package: str, data: Mapping[str, Any], kind: str, default: str) -> Settings:
    """The settings in `data`, checked by the plug-in that `data["name"]` names (`default` when it names none).

    The plug-in's settings class is called after its kind: `BaselineSettings` for a baseline.

    Raises:
        UsageError: there is no such plug-in, or a key or value it does not know.
    """
    name = str(data.get("name", default))
    wanted = f"{kind.capitalize()}Settings"
    model = getattr(load_plugin(package, name, kind), wanted, None)
    if not (isinstance(model, type) and issubclass(model, Settings)):
        raise UsageError(f"the {kind} '{name}' has no settings class {wanted}")
    return parse_config(model, dict(data), where=f"the {kind} '{name}'")
