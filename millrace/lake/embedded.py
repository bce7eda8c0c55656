"""The lake that is made on the spot when a config names none; a plug-in makes it.

    [project.entry-points."millrace.lake.embedded"]
    default = "my_package.my_lake"

The module named has two functions, `plan_lake(*, images, seed, rows_per_shard)` and `build_shard(plan, number)`. A plan can be
pickled and has the fields of `LakePlan`. One that makes several kinds of lakes takes `recipe`, the name of a kind, besides.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType
from typing import Protocol

from millrace.errors import InputError, UsageError
from millrace.plugins.contracts import completed
from millrace.plugins.entry_points import entry_points
from millrace.plugins.loading import import_plugin

GROUP = "millrace.lake.embedded"


class LakePlan(Protocol):
    """A lake that can be made. The same plan gives the same images, byte for byte."""

    @property
    def folder(self) -> Path:
        """Where it is, or will be."""
        ...

    @property
    def missing(self) -> list[int]:
        """Numbers of the shards that are still to be made."""
        ...


class Plugin(Protocol):
    """What the module has that makes the lake."""

    def plan_lake(self, *, images: int, seed: int, rows_per_shard: int) -> LakePlan:
        """The plan; makes nothing yet."""
        ...

    def build_shard(self, plan: LakePlan, number: int) -> Path:
        """Make one shard, unless it is there; returns its file."""
        ...


def plan_lake(*, images: int, seed: int, rows_per_shard: int, recipe: str | None = None) -> LakePlan:
    """The plan of the embedded lake.

    Args:
        images: in it.
        seed: of its pictures.
        rows_per_shard: in a file.
        recipe: which kind of lake, where the package makes several; None: its usual one.

    Raises:
        InputError: no package that makes one is installed.
        UsageError: it makes none of this kind.
    """
    maker, kind = _maker(), {} if recipe is None else {"recipe": recipe}
    if kind and "recipe" not in inspect.signature(maker.plan_lake).parameters:
        raise UsageError(f"the embedded lake of this installation has one kind only; leave out the kind '{recipe}'")
    plan: LakePlan = maker.plan_lake(images=images, seed=seed, rows_per_shard=rows_per_shard, **kind)
    return plan


def build_shard(plan: LakePlan, number: int) -> Path:
    """Make one shard of the lake, unless it is there; returns its file.

    Raises:
        InputError: the folder cannot be written to.
    """
    file: Path = _maker().build_shard(plan, number)
    return file


def _maker() -> ModuleType:
    path = entry_points(GROUP).get("default")
    if path is None:
        raise InputError("there is no embedded lake in this installation; set probing.lake.path to a folder of .parquet files")
    what = f"the embedded lake '{path}'"
    module = import_plugin(path, what)
    completed(module, Plugin, what)
    return module
