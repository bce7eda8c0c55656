"""Formats of the finished dataset: one file here is one format, its name the file's name.

A format is a module with `rows(item, trajectory, tree)` yielding JSON records. How to write one: docs/extending/export.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol


class Plugin(Protocol):
    """What a module in this folder has."""

    def rows(self, item: Mapping[str, Any], trajectory: Mapping[str, Any], tree: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The format's JSON records for one item.

        Args:
            item: a line of `qa.jsonl`.
            trajectory: the path that it was made from.
            tree: all that was tried for its seed.
        """
        ...
