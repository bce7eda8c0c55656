"""Classes that a command line names."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from millrace.errors import UsageError


def classes_named(names: Sequence[str]) -> tuple[type, ...]:
    """The classes `package.module.Class`.

    Raises:
        UsageError: one can't be imported, or is no class.
    """
    found = []
    for name in names:
        module, _, attribute = name.rpartition(".")
        try:
            kind = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise UsageError(f"allow_globals: no class '{name}' can be imported: {error}") from error
        if not isinstance(kind, type):
            raise UsageError(f"allow_globals: '{name}' is a {type(kind).__name__} and no class")
        found.append(kind)
    return tuple(found)
