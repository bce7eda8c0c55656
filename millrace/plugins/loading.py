"""Plug-ins: one file in a folder is one choice in a config.

The file's name is its name in a config, in an error message and in the form's drop-down; a dotted path names the user's own
module instead, and an installed package adds modules by entry points (`entry_points`). A file whose name starts with an
underscore is not a plug-in. What a module must have says the protocol `Plugin` in the folder's `__init__`.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import traceback
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from millrace.config import Settings, parse_config
from millrace.errors import MillraceError, UsageError, did_you_mean
from millrace.plugins.contracts import completed
from millrace.plugins.entry_points import data_entry_points, entry_points


def plugin_names(package: str) -> list[str]:
    """The names found in the folder of `package` (a dotted path) and among its entry points, sorted. Imports none of them."""
    return sorted({*_in_folder(package), *entry_points(package)})


def _in_folder(package: str) -> list[str]:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ValueError(f"{package} is not a package")
    return [found.name for found in pkgutil.iter_modules(spec.submodule_search_locations) if not found.name.startswith("_")]


def plugin_files(package: str, ending: str) -> dict[str, Path]:
    """Plug-ins that are data, such as claim sets: name → file with this ending, in the folder of `package` and among its entry
    points, sorted by name. One of the folder goes before an entry point of its name.
    """
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    found = {path.stem: path for folder in folders or () for path in Path(folder).glob(f"*.{ending}")}
    found = data_entry_points(package, ending) | found
    return {name: found[name] for name in sorted(found)}


def load_plugin(package: str, name: str, kind: str) -> ModuleType:
    """Import the plug-in `name` of `package`, or the user's own module when `name` has a dot in it.

    What comes back has all that the folder's protocol `Plugin` names: abilities that the module leaves out are the defaults.
    `kind` is the word for the message: "environment", "baseline".

    Raises:
        UsageError: nothing is called that, the module cannot be imported, or it lacks something; the message says what to do.
    """
    if name in _in_folder(package):
        module = f"{package}.{name}"
    elif name in entry_points(package):
        module = entry_points(package)[name]
    elif "." in name.strip("."):
        module = name
    else:
        raise UsageError(_unknown(package, name, kind))
    return _checked(package, module, f"the {kind} '{name}'")


def _unknown(package: str, name: str, kind: str) -> str:
    message = f"no {kind} named '{name}'{did_you_mean(name, plugin_names(package))}"
    if name.isidentifier() and _find(name) is not None:
        where = f"move it into a folder, say mine/, and write mine.{name}"
        message += f". There is a module {name}; one of your own is named with a dot, to be told from a shipped one: {where}"
    return message


@lru_cache(maxsize=256)
def _checked(package: str, path: str, what: str) -> ModuleType:
    module = import_plugin(path, what)
    completed(module, importlib.import_module(package).Plugin, what)
    return module


def import_plugin(path: str, what: str) -> ModuleType:
    """Import a module of a plug-in; `what` is how a message calls it.

    Raises:
        UsageError: it cannot be imported; the message says why, where and what to do.
    """
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is not None and (path == error.name or path.startswith(f"{error.name}.")):
            raise UsageError(f"{what} cannot be imported: {_why_not_there(path)}") from error
        raise UsageError(f"{what} cannot be imported: {_place(error, path)}{error}; install what it needs") from error
    except MillraceError:
        raise
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        raise UsageError(f"{what} cannot be imported: {_place(error, path)}{said}; correct it there") from error


def _why_not_there(path: str) -> str:
    """Which part of a dotted path is not there, and what may have been meant."""
    parent, _, last = path.rpartition(".")
    if not parent or _find(parent) is None:
        first = path.partition(".")[0]
        where = f"there is no module {parent if _find(first) is not None and parent else first}"
        return f"{where}; run the command in the folder that holds it, or put that folder on PYTHONPATH"
    spec = _find(parent)
    assert spec is not None
    if spec.submodule_search_locations is None:
        return f"{parent} is a module and holds no module {last}; name the module alone: {parent}"
    known = [found.name for found in pkgutil.iter_modules(spec.submodule_search_locations)]
    return f"{parent} holds no module {last}{did_you_mean(last, known)}"


def _find(name: str) -> Any:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None


def _place(error: BaseException, path: str) -> str:
    """`FILE, line 3: ` of the last line of the module itself that took part; empty where none did."""
    spec = _find(path)
    file = spec.origin if spec is not None else None
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}, line {error.lineno}: "
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{file}, line {lines[-1]}: " if lines else ""


def plugin_settings(package: str, data: Mapping[str, Any], kind: str, default: str) -> Settings:
    """The settings in `data`, checked by the plug-in that `data["name"]` names (`default` when it names none).

    The plug-in's settings class is called after its kind: `BaselineSettings` for a baseline.

    Raises:
        UsageError: there is no such plug-in, or a key or value it does not know.
    """
    name = str(data.get("name", default))
    what = f"the {kind} '{name}'"
    model = settings_class(load_plugin(package, name, kind), kind, what)
    return parse_config(model, dict(data), where=what)


def settings_class(module: ModuleType, kind: str, what: str) -> type[Settings]:
    """The settings class of a plug-in.

    Raises:
        UsageError: it is not one of settings, or has no field `name`.
    """
    model = vars(module)[f"{kind.capitalize()}Settings"]
    if not (isinstance(model, type) and issubclass(model, Settings)):
        raise UsageError(f"{what}: {kind.capitalize()}Settings must be a class derived from millrace.config.Settings")
    if "name" not in model.model_fields:
        raise UsageError(f"{what}: {model.__name__} needs a field `name: str`, whose default is the plug-in's name")
    return model


def name_in(settings: Settings) -> str:
    """The plug-in's name in settings that `plugin_settings` made."""
    return str(dict(settings)["name"])
