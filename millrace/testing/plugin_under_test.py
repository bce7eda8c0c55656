"""From the name of a plug-in to its kind and the promises that it has to keep."""

from __future__ import annotations

import contextlib
import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import yaml

from millrace.config import read_mapping
from millrace.errors import UsageError, did_you_mean
from millrace.plugins.contracts import members_of
from millrace.plugins.loading import import_plugin, load_plugin, plugin_names
from millrace.testing.kinds import PACKAGE

Promise = Callable[[Any], None]


@dataclass
class PluginUnderTest:
    """One plug-in and its kind. Opened once, for all promises."""

    kind: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def checks(self) -> ModuleType:
        """The kind's file."""
        return load_plugin(PACKAGE, self.kind, "kind of plug-in")

    @property
    def promises(self) -> tuple[Promise, ...]:
        """What it has to keep."""
        found: tuple[Promise, ...] = self.checks.PROMISES
        return found

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        """The plug-in, opened.

        Raises:
            UsageError: it cannot be found, lacks something, or its settings are wrong; the message says what to do.
        """
        load_plugin(self.checks.FOLDER, self.name, self.checks.WORD)
        with self.checks.opened(self.name, self.settings) as subject:
            yield subject


def plugin_under_test(given: str, settings: str | None = None) -> PluginUnderTest:
    """The plug-in that `--plugin` names.

    Args:
        given: `my_package.my_world`, or with its kind `environment:my_package.my_world`.
        settings: YAML, or the path of a file of it.

    Raises:
        UsageError: there is none, or it is of no kind.
    """
    kind, sign, name = given.partition(":")
    if not sign:
        kind, name = kind_of(given), given
    elif (kind := kind.replace("-", "_")) not in plugin_names(PACKAGE):
        raise UsageError(f"--plugin {given}: no kind of plug-in is called '{kind}'{did_you_mean(kind, plugin_names(PACKAGE))}")
    return PluginUnderTest(kind, name, _settings(settings))


def kind_of(name: str) -> str:
    """The kind of a module of the user's, by what it has: that of which it has the most required parts, missing ones taken off.

    Raises:
        UsageError: it has none of any kind's.
    """
    module = import_plugin(name, f"the plug-in '{name}'")
    found = {}
    for kind in plugin_names(PACKAGE):
        contract = importlib.import_module(load_plugin(PACKAGE, kind, "kind of plug-in").FOLDER).Plugin
        required = [member.name for member in members_of(contract) if member.required]
        there = sum(part in vars(module) for part in required)
        if there:
            found[kind] = 2 * there - len(required)
    if not found:
        known = ", ".join(plugin_names(PACKAGE))
        raise UsageError(
            f"{name} has nothing of any kind of plug-in; say which it is to be: --plugin KIND:{name}, one of {known}"
        )
    return max(found, key=lambda kind: found[kind])


def _settings(given: str | None) -> dict[str, Any]:
    if given is None:
        return {}
    if given.endswith((".yaml", ".yml", ".json")):
        from pathlib import Path

        return read_mapping(Path(given))
    try:
        value = yaml.safe_load(given)
    except yaml.YAMLError as error:
        raise UsageError(f"--plugin-settings is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(value, dict):
        raise UsageError(f"--plugin-settings takes a mapping or a .yaml file, not '{given}'")
    return value


def modules_imported_by(path: str) -> set[str]:
    """The top-level modules that importing `path` brings along, in a process of its own."""
    program = f"import sys; sys.path[:] = {sys.path!r}; import {path}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{path} cannot be imported by itself: {done.stderr.strip().splitlines()[-1]}")
    return set(done.stdout.split())
