"""Formats of the finished dataset: one file here is one format, its name the file's name.

A format is a module with `rows(item, trajectory, tree)` yielding records or JSON objects. How to write one:
docs/extending/export.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import msgspec

from millrace.records.synthesis import QAItem
from millrace.records.trajectories import Trajectory, Tree


class Plugin(Protocol):
    """What a module in this folder has."""

    def rows(self, item: QAItem, trajectory: Trajectory, tree: Tree) -> Iterator[msgspec.Struct | Mapping[str, object]]:
        """The format's records, or JSON objects, for one item.

        Args:
            item: a line of `qa.jsonl`.
            trajectory: the path that it was made from.
            tree: all that was tried for its seed.
        """
        ...
