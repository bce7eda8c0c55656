"""Exports of synthesis: JSON records for a proven question, the same each time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import orjson

from millrace.plugins.loading import load_plugin
from millrace.testing.kinds import kept
from millrace.testing.material import proven

FOLDER = "millrace.synthesis.exports"
WORD = "export"


@contextlib.contextmanager
def opened(name: str, settings: Mapping[str, Any]) -> Iterator[ModuleType]:
    """The module; an export has no settings."""
    del settings
    yield load_plugin(FOLDER, name, WORD)


def its_rows_are_json_and_the_same_each_time(module: ModuleType) -> None:
    """Each is a mapping of JSON values."""
    first = [orjson.dumps(row) for row in module.rows(*proven())]
    again = [orjson.dumps(row) for row in module.rows(*proven())]
    kept(first == again, "the same question gives other rows the second time")
    kept(all(line.startswith(b"{") for line in first), "a row must be a mapping")


def it_leaves_what_it_is_given_as_it_was(module: ModuleType) -> None:
    """The same record goes to every export."""
    given = proven()
    for _ in module.rows(*given):
        pass
    kept(given == proven(), "it changed the item, the trajectory or the tree; copy what you change")


PROMISES = (its_rows_are_json_and_the_same_each_time, it_leaves_what_it_is_given_as_it_was)
