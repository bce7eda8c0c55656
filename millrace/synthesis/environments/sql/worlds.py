"""Small databases of two tables, drawn by their names: the same name gives the same rows everywhere.

A name is a world and a number (`shop_40213`). Prices and rates are whole numbers, so that no sum depends on its order; some are
NULL, and some rows of the second table belong to nobody in the first.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from millrace.run.ids import random_for

Row = tuple[int | str | None, ...]

NAMES = ("Ana", "Ben", "Chloe", "Dan", "Eva", "Finn", "Grace", "Hugo", "Iris", "Jon")
PARENTS, CHILDREN = 6, 18
"""Rows of the two tables."""
UNKNOWN_SHARE, NOBODYS_SHARE = 0.12, 0.08
"""How many prices are NULL, and how many rows belong to nobody."""


@dataclass(frozen=True, slots=True)
class World:
    """What the tables and their columns are called."""

    parent: str
    group: str
    groups: tuple[str, ...]
    child: str
    link: str
    kind: str
    kinds: tuple[str, ...]
    count: str
    price: str

    def words(self) -> dict[str, str]:
        """The names, for wordings and queries."""
        return {name: getattr(self, name) for name in ("parent", "group", "child", "link", "kind", "count", "price")}


WORLDS = {
    "shop": World("customers", "city", ("Lyon", "Oslo", "Porto"), "orders", "customer", "good",
                  ("lamp", "chair", "desk", "shelf"), "quantity", "price"),
    "garage": World("mechanics", "shift", ("early", "late", "night"), "repairs", "mechanic", "part",
                    ("brake", "clutch", "engine", "gearbox"), "hours", "rate"),
    "farm": World("growers", "valley", ("Arden", "Brook", "Combe"), "deliveries", "grower", "crop",
                  ("apples", "beans", "kale", "plums"), "crates", "price"),
}  # fmt: skip


def world_named(name: str) -> World | None:
    """The world of a database's name; None where it is no such name."""
    world, _, number = name.partition("_")
    return WORLDS.get(world) if number.isdecimal() and len(number) <= 9 else None


def rows_of(name: str) -> tuple[list[Row], list[Row]]:
    """(rows of the first table, rows of the second) of a database."""
    world = world_named(name)
    assert world is not None
    rng = random_for(0, "sql", name)
    parents: list[Row] = [(number, who, rng.choice(world.groups)) for number, who in enumerate(rng.sample(NAMES, PARENTS), 1)]
    return parents, [_child(number, world, rng) for number in range(1, CHILDREN + 1)]


def _child(number: int, world: World, rng: random.Random) -> Row:
    owner = None if rng.random() < NOBODYS_SHARE else rng.randint(1, PARENTS)
    price = None if rng.random() < UNKNOWN_SHARE else rng.randint(11, 97)
    return (number, owner, rng.choice(world.kinds), rng.randint(2, 9), price)


def columns_of(world: World) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns of both tables."""
    return ("id", "name", world.group), ("id", world.link, world.kind, world.count, world.price)


def text_of(name: str) -> str:
    """A database as a question shows it."""
    world = world_named(name)
    assert world is not None
    tables = zip((world.parent, world.child), columns_of(world), rows_of(name), strict=True)
    return "\n\n".join([f"Database {name}", *(_table(title, columns, rows) for title, columns, rows in tables)])


def _table(title: str, columns: Sequence[str], rows: Sequence[Row]) -> str:
    lines = [" | ".join("NULL" if value is None else str(value) for value in row) for row in rows]
    return "\n".join([f"{title}: {' | '.join(columns)}", *lines])
