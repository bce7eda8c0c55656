"""Computes the answers from the tables as the question shows them, row by row in plain Python; no query and no database.

NULL is read as the question states it: a sum, a mean or a median leaves it out, a comparison with it does not hold. A largest
value that several have, and a mean that lies exactly between two roundings, is no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from millrace.synthesis.environments import Unprovable, Value, Verifier

Args = Mapping[str, Any]


class Tables:
    """Both tables, read from their text."""

    def __init__(self, text: str, args: Args) -> None:
        self.args = args
        self.parents: list[dict[str, Any]] = []
        self.children: list[dict[str, Any]] = []
        for block in text.split("\n\n")[1:]:
            head, *lines = block.split("\n")
            title, _, columns = head.partition(": ")
            names = columns.split(" | ")
            rows = [dict(zip(names, map(self._cell, line.split(" | ")), strict=True)) for line in lines]
            if title == args["parent"]:
                self.parents = rows
            elif title == args["child"]:
                self.children = rows
        if not self.parents or not self.children:
            raise Unprovable(f"the question shows no tables {args['parent']} and {args['child']}")

    @staticmethod
    def _cell(text: str) -> Any:
        return None if text == "NULL" else int(text) if text.isdigit() else text

    def owner(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """The row of the first table that a row of the second belongs to."""
        return next((parent for parent in self.parents if parent["id"] == row[self.args["link"]]), None)

    def of(self, parent: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of the second table that belong to one of the first."""
        return [row for row in self.children if row[self.args["link"]] == parent["id"]]

    def kind(self, row: Mapping[str, Any]) -> Any:
        """A row's kind."""
        return row[self.args["kind"]]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Rows of a kind."""
        return [row for row in self.children if self.kind(row) == kind]

    def place(self, row: Mapping[str, Any]) -> Any:
        """The group that the owner of a row is in; None without an owner."""
        owner = self.owner(row)
        return owner[self.args["group"]] if owner else None

    def units(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """The sum of the counts."""
        return sum(row[self.args["count"]] for row in rows)

    def total(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """The sum of count times price where the price is known.

        Raises:
            Unprovable: none is known: the sum is NULL.
        """
        parts = [row[self.args["count"]] * row[self.args["price"]] for row in rows if row[self.args["price"]] is not None]
        if not parts:
            raise Unprovable("a sum over no known value")
        return int(sum(parts))

    def total_or_none(self, rows: Iterable[Mapping[str, Any]]) -> int | None:
        """As `total`; None where it is NULL."""
        try:
            return self.total(rows)
        except Unprovable:
            return None

    def prices(self, rows: Iterable[Mapping[str, Any]]) -> list[int]:
        """The known prices."""
        return [row[self.args["price"]] for row in rows if row[self.args["price"]] is not None]

    def by(
        self, key: Callable[[Mapping[str, Any]], Any], rows: Iterable[Mapping[str, Any]]
    ) -> dict[Any, list[Mapping[str, Any]]]:
        """Rows by a key that they have."""
        found: dict[Any, list[Mapping[str, Any]]] = {}
        for row in rows:
            if key(row) is not None:
                found.setdefault(key(row), []).append(row)
        return found

    def name(self, row: Mapping[str, Any]) -> Any:
        """The name of a row's owner."""
        owner = self.owner(row)
        return owner["name"] if owner else None

    def named(self, name: str) -> dict[str, Any]:
        """The row of the first table with a name."""
        found = [parent for parent in self.parents if parent["name"] == name]
        if len(found) != 1:
            raise Unprovable(f"{len(found)} of the {self.args['parent']} are called {name}")
        return found[0]


def _only_largest(totals: Mapping[Any, int | None]) -> Any:
    known = {name: total for name, total in totals.items() if total is not None}
    best = [name for name, total in known.items() if total == max(known.values())]
    if len(best) != 1:
        raise Unprovable(f"{len(best)} have the largest sum")
    return best[0]


def _rounded(top: int, bottom: int) -> str:
    if not bottom:
        raise Unprovable("a mean of no known value")
    hundredths = Fraction(top * 100, bottom)
    whole, rest = divmod(hundredths, 1)
    if rest == Fraction(1, 2):
        raise Unprovable("the mean lies exactly between two roundings")
    whole = int(whole) + (rest > Fraction(1, 2))
    return f"{whole // 100}.{whole % 100:02d}"


def _mean(prices: Sequence[int]) -> str:
    return _rounded(sum(prices), len(prices))


def _weighted(t: Tables, a: Args) -> str:
    rows = [row for row in t.children if t.place(row) == a["place"] and row[a["price"]] is not None]
    return _rounded(sum(row[a["count"]] * row[a["price"]] for row in rows), t.units(rows))


def _median(t: Tables) -> str:
    totals = sorted(t.units(t.of(parent)) for parent in t.parents if t.of(parent))
    middle = len(totals) // 2
    return _rounded(totals[middle] * 2 if len(totals) % 2 else totals[middle - 1] + totals[middle], 2)


def _gap(t: Tables) -> int:
    totals = [t.total_or_none(rows) for rows in t.by(t.place, t.children).values()]
    known = [total for total in totals if total is not None]
    if len(known) < 2:
        raise Unprovable("there are no two sums to compare")
    return max(known) - min(known)


def _second(t: Tables) -> int:
    totals = sorted({t.total_or_none(t.of(parent)) for parent in t.parents} - {None}, reverse=True)  # type: ignore[type-var]
    if len(totals) < 2:
        raise Unprovable("there is no second largest sum")
    return int(totals[1] or 0)


def _above_mean(t: Tables, a: Args) -> int:
    prices = t.prices(t.of_kind(a["one"]))
    known = [row for row in t.children if row[a["price"]] is not None]
    return t.total(row for row in known if row[a["price"]] * len(prices) > sum(prices))


def _of_both(t: Tables, a: Args) -> int:
    def has(parent: Mapping[str, Any], kind: str) -> bool:
        return any(t.kind(row) == kind for row in t.of(parent))

    return t.total(row for parent in t.parents if has(parent, a["one"]) and has(parent, a["two"]) for row in t.of(parent))


def _of_others(t: Tables, a: Args) -> int:
    return t.total(row for parent in t.parents if all(t.kind(mine) != a["one"] for mine in t.of(parent)) for row in t.of(parent))


def _at_dearest(t: Tables, a: Args) -> int:
    best = {kind: max(t.prices(rows), default=None) for kind, rows in t.by(t.kind, t.children).items()}
    return t.total(row for row in t.children if row[a["price"]] is not None and row[a["price"]] == best[t.kind(row)])


def _pairs(t: Tables) -> int:
    rows = [row for row in t.children if row[t.args["link"]] is not None]
    return sum(
        rows[i][t.args["link"]] == rows[j][t.args["link"]] and t.kind(rows[i]) != t.kind(rows[j])
        for i in range(len(rows))
        for j in range(i)
    )


def _count_above(t: Tables, a: Args) -> int:
    rows = [row for row in t.children if row[a["link"]] is not None and row[a["price"]] is not None]
    fitting = [row for row in rows if row[a["price"]] >= a["least"]]
    if not fitting:
        raise Unprovable("a sum over nothing")
    return t.units(fitting)


def _beside(t: Tables, kind: str) -> int:
    owners = {row[t.args["link"]] for row in t.of_kind(kind)} - {None}
    return t.total(row for row in t.children if t.kind(row) != kind and row[t.args["link"]] in owners)


def _neighbours(t: Tables, name: str) -> int:
    place = t.named(name)[t.args["group"]]
    return t.total(
        row for parent in t.parents if parent["name"] != name and parent[t.args["group"]] == place for row in t.of(parent)
    )


def _totals(t: Tables, groups: Mapping[Any, Iterable[Mapping[str, Any]]]) -> dict[Any, int | None]:
    return {name: t.total_or_none(rows) for name, rows in groups.items()}


def _units(t: Tables, groups: Mapping[Any, Iterable[Mapping[str, Any]]]) -> dict[Any, int | None]:
    return {name: t.units(rows) for name, rows in groups.items()}


WAYS: dict[str, Callable[[Tables, Args, Any], Value]] = {
    "total_of_kind": lambda t, a, x: t.total(t.of_kind(a["one"])),
    "total_of_group": lambda t, a, x: t.total(row for row in t.children if t.place(row) == a["place"]),
    "total_of_group_and_kind": lambda t, a, x: t.total(
        row for row in t.children if t.place(row) == a["place"] and t.kind(row) != a["one"]
    ),
    "mean_of_kind": lambda t, a, x: _mean(t.prices(t.of_kind(a["one"]))),
    "mean_per_unit": lambda t, a, x: _weighted(t, a),
    "median_of_totals": lambda t, a, x: _median(t),
    "gap_between_groups": lambda t, a, x: _gap(t),
    "second_total": lambda t, a, x: _second(t),
    "total_above_mean": lambda t, a, x: _above_mean(t, a),
    "total_of_buyers_of_both": lambda t, a, x: _of_both(t, a),
    "total_of_others": lambda t, a, x: _of_others(t, a),
    "total_at_dearest": lambda t, a, x: _at_dearest(t, a),
    "pairs_of_kinds": lambda t, a, x: _pairs(t),
    "count_above": lambda t, a, x: _count_above(t, a),
    "best_parent": lambda t, a, x: _only_largest(_totals(t, t.by(t.name, t.children))),
    "busiest_parent": lambda t, a, x: _only_largest({name: len(rows) for name, rows in t.by(t.name, t.children).items()}),
    "commonest_kind": lambda t, a, x: _only_largest(_units(t, t.by(t.kind, t.children))),
    "best_group_of": lambda t, a, x: _only_largest(_units(t, t.by(t.place, t.of_kind(a["one"])))),
    "total_of_name": lambda t, a, x: t.total(t.of(t.named(x))),
    "total_of_neighbours": lambda t, a, x: _neighbours(t, x),
    "kind_of_name": lambda t, a, x: _only_largest(_units(t, t.by(t.kind, t.of(t.named(x))))),
    "total_of_that_kind": lambda t, a, x: t.total(t.of_kind(x)),
    "total_beside_kind": lambda t, a, x: _beside(t, x),
    "group_of_kind": lambda t, a, x: _only_largest(_totals(t, t.by(t.place, t.of_kind(x)))),
    "total_of_that_group": lambda t, a, x: t.total(row for row in t.children if t.place(row) == x),
    "total_elsewhere": lambda t, a, x: t.total(
        row for row in t.of_kind(a["one"]) if t.place(row) is not None and t.place(row) != x
    ),
}


class TablesVerifier(Verifier):
    """Answers row by row."""

    name = "sql-rows@1"

    def origin(self, start: Mapping[str, Any]) -> Value:
        """The tables, as they are shown; that they are those of the database is seen from the values."""
        return start["value"]

    def apply(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Value:
        """The one value of a question about the tables."""
        try:
            return WAYS[op](Tables(str(values[0]), args), args, values[-1])
        except (KeyError, ValueError) as error:
            raise Unprovable(f"{op}: {error}") from None

    def alternatives(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Sequence[Value]:
        """The other names, kinds or groups of the tables; numbers beside a number."""
        true, tables = values[-1], Tables(str(values[0]), args)
        if isinstance(true, int):
            return [true + 1, true + 10, max(0, true - 7)]
        others: list[Value] = [parent["name"] for parent in tables.parents]
        for column in ([parent[args["group"]] for parent in tables.parents], [tables.kind(row) for row in tables.children]):
            if true in column:
                others = sorted(set(column))
        return [other for other in others if other != true] if true in others else [f"{float(str(true)) + 1:.2f}", "0.50"]
