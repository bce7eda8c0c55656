"""What a program can ask of two tables: each operator is one query, its words, and how its one value is read.

A query for the largest of something gives all that are largest; where that is more than one, no value can be read. Nothing is asked
whose answer depends on an order of rows or of a float sum.
"""

# ruff: noqa: E501 - a query stands on one line beside its wordings; its names and constants are this package's own

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from millrace.synthesis.environments import Constants, Operator, Value
from millrace.synthesis.environments.sql.worlds import WORLDS, World, world_named

NULL = ("null",)
"""The rule that a question states whose columns may hold NULL."""

JOINED = "{child} c JOIN {parent} p ON p.id = c.{link}"


def database_of(values: Sequence[Value]) -> str:
    """The name in the first line of the tables."""
    return str(values[0]).split("\n", 1)[0].removeprefix("Database ")


def _world(values: Sequence[Value]) -> World:
    world = world_named(database_of(values))
    assert world is not None
    return world


def asking(
    name: str, query: str, en: str, zh: str, *, takes: str = "database", gives: str = "integer", draws: str = "",
    rules: tuple[str, ...] = NULL, answer_type: str = "",
) -> Operator:  # fmt: skip
    """An operator whose value is the one cell of a query in `{x}`, the world's names and its constants."""

    def draw(rng: random.Random, values: Sequence[Value]) -> Constants | None:
        world = _world(values)
        constants: dict[str, Any] = world.words()
        if "k" in draws:
            constants["one"] = rng.choice(world.kinds)
        if "K" in draws:
            constants["one"], constants["two"] = rng.sample(world.kinds, 2)
        if "g" in draws:
            constants["place"] = rng.choice(world.groups)
        if "t" in draws:
            constants["least"] = rng.randrange(20, 70, 5)
        return constants

    def act(args: Mapping[str, Any], values: Sequence[Value]) -> dict[str, Any]:
        return {"database": database_of(values), "sql": query.format(x=values[-1], joined=JOINED.format(**args), **args)}

    def read(args: Mapping[str, Any], values: Sequence[Value], text: str) -> Value:
        lines = text.splitlines()
        if lines[-1] != "(1 row)" or len(lines) != 3 or lines[1] == "NULL":
            raise ValueError(f"the query gives no single value but {' / '.join(lines[1:])[:80]}")
        if gives == "decimal":
            return f"{float(lines[1]):.2f}"
        return int(lines[1]) if gives == "integer" else lines[1]

    return Operator(
        name=name, takes=takes, gives=gives, tool="sql_query", draw=draw, act=act, read=read, en=en, zh=zh, rules=rules,
        answers=gives in ("integer", "decimal"), answer_type=answer_type, weight=1.0,
    )  # fmt: skip


LARGEST = "WITH t AS ({inner}) SELECT {column} FROM t WHERE total = (SELECT MAX(total) FROM t)"

OPERATORS = (
    asking("total_of_kind", "SELECT SUM({count} * {price}) FROM {child} WHERE {kind} = '{one}'",
           "the sum of {count} times {price} over the {child} with {kind} {one}", "{child} 中 {kind} 为 {one} 的各行 {count} 乘以 {price} 之和", draws="k"),
    asking("total_of_group", "SELECT SUM(c.{count} * c.{price}) FROM {joined} WHERE p.{group} = '{place}'",
           "the sum of {count} times {price} over the {child} of all {parent} with {group} {place}", "{group} 为 {place} 的 {parent} 的所有 {child} 中 {count} 乘以 {price} 之和", draws="g"),
    asking("total_of_group_and_kind", "SELECT SUM(c.{count} * c.{price}) FROM {joined} WHERE p.{group} = '{place}' AND c.{kind} <> '{one}'",
           "the sum of {count} times {price} over the {child} of the {parent} with {group} {place}, leaving out those with {kind} {one}", "{group} 为 {place} 的 {parent} 的 {child} 中，除去 {kind} 为 {one} 的行，其余各行 {count} 乘以 {price} 之和", draws="gk"),
    asking("mean_of_kind", "SELECT ROUND(AVG({price}), 2) FROM {child} WHERE {kind} = '{one}'",
           "the mean {price} of the {child} with {kind} {one}, rounded to two decimals", "{child} 中 {kind} 为 {one} 的各行 {price} 的平均值（保留两位小数）", gives="decimal", draws="k", answer_type="decimal"),
    asking("mean_per_unit", "SELECT ROUND(SUM(c.{count} * c.{price}) / SUM(c.{count}), 2) FROM {joined} WHERE p.{group} = '{place}' AND c.{price} IS NOT NULL",
           "the mean {price} of the {child} of the {parent} with {group} {place}, each weighted with its {count}, rounded to two decimals", "{group} 为 {place} 的 {parent} 的 {child} 中 {price} 以 {count} 为权的加权平均值（保留两位小数）", gives="decimal", draws="g", answer_type="decimal"),
    asking("median_of_totals", "SELECT ROUND(MEDIAN(total), 2) FROM (SELECT SUM(c.{count}) AS total FROM {joined} GROUP BY p.id)",
           "the median, over the {parent} with at least one of the {child}, of the sum of their {count}, written with two decimals", "至少有一行 {child} 的各 {parent} 的 {count} 之和的中位数（写两位小数）", gives="decimal", answer_type="decimal", rules=()),
    asking("gap_between_groups", "SELECT MAX(total) - MIN(total) FROM (SELECT SUM(c.{count} * c.{price}) AS total FROM {joined} GROUP BY p.{group})",
           "the difference between the largest and the smallest of the sums of {count} times {price} that the {child} of each {group} have", "各 {group} 的 {child} 的 {count} 乘以 {price} 之和中，最大者与最小者之差"),
    asking("second_total", "WITH t AS (SELECT DISTINCT SUM(c.{count} * c.{price}) AS total FROM {joined} GROUP BY p.id) SELECT MAX(total) FROM t WHERE total < (SELECT MAX(total) FROM t)",
           "the second largest of the sums of {count} times {price} that the {child} of each of the {parent} have", "每个 {parent} 的 {child} 的 {count} 乘以 {price} 之和中第二大的值"),
    asking("total_above_mean", "SELECT SUM({count} * {price}) FROM {child} WHERE {price} > (SELECT AVG({price}) FROM {child} WHERE {kind} = '{one}')",
           "the sum of {count} times {price} over the {child} whose {price} is above the mean {price} of the {child} with {kind} {one}", "{price} 高于 {kind} 为 {one} 的 {child} 的平均 {price} 的各行 {count} 乘以 {price} 之和", draws="k"),
    asking("total_of_buyers_of_both", "SELECT SUM({count} * {price}) FROM {child} WHERE {link} IN (SELECT {link} FROM {child} WHERE {kind} = '{one}') AND {link} IN (SELECT {link} FROM {child} WHERE {kind} = '{two}')",
           "the sum of {count} times {price} over all {child} of those {parent} that have both {child} with {kind} {one} and {child} with {kind} {two}", "既有 {kind} 为 {one} 的 {child}、又有 {kind} 为 {two} 的 {child} 的各 {parent}，其所有 {child} 的 {count} 乘以 {price} 之和", draws="K"),
    asking("total_of_others", "SELECT SUM(c.{count} * c.{price}) FROM {joined} WHERE NOT EXISTS (SELECT 1 FROM {child} o WHERE o.{link} = p.id AND o.{kind} = '{one}')",
           "the sum of {count} times {price} over the {child} of those {parent} that have none of the {child} with {kind} {one}", "没有 {kind} 为 {one} 的 {child} 的各 {parent}，其 {child} 的 {count} 乘以 {price} 之和", draws="k"),
    asking("total_at_dearest", "SELECT SUM(c.{count} * c.{price}) FROM {child} c WHERE c.{price} = (SELECT MAX(o.{price}) FROM {child} o WHERE o.{kind} = c.{kind})",
           "the sum of {count} times {price} over the {child} whose {price} is the highest among those with the same {kind}", "{price} 为同一 {kind} 中最高的各行 {child} 的 {count} 乘以 {price} 之和"),
    asking("pairs_of_kinds", "SELECT COUNT(*) FROM {child} a JOIN {child} b ON a.{link} = b.{link} AND a.id < b.id WHERE a.{kind} <> b.{kind}",
           "the number of pairs of {child} that have the same {link} and a different {kind}, the order within a pair not counting", "{link} 相同而 {kind} 不同的 {child} 行对的个数（不计对内顺序）"),
    asking("count_above", "SELECT SUM({count}) FROM {child} WHERE {price} >= {least} AND {link} IS NOT NULL",
           "the sum of {count} over the {child} with a {price} of at least {least} that have a {link}", "{price} 不低于 {least} 且 {link} 不为 NULL 的 {child} 的 {count} 之和", draws="t"),
    asking("best_parent", LARGEST.format(inner="SELECT p.name, SUM(c.{count} * c.{price}) AS total FROM {joined} GROUP BY p.id, p.name", column="name"),
           "the name of the one among the {parent} whose {child} have the largest sum of {count} times {price}", "{child} 的 {count} 乘以 {price} 之和最大的那个 {parent} 的 name", gives="name"),
    asking("busiest_parent", LARGEST.format(inner="SELECT p.name, COUNT(*) AS total FROM {joined} GROUP BY p.id, p.name", column="name"),
           "the name of the one among the {parent} with the most {child}", "{child} 行数最多的那个 {parent} 的 name", gives="name", rules=()),
    asking("commonest_kind", LARGEST.format(inner="SELECT {kind} AS value, SUM({count}) AS total FROM {child} GROUP BY {kind}", column="value"),
           "the {kind} whose {child} have the largest sum of {count}", "{count} 之和最大的 {kind}", gives="kind", rules=()),
    asking("best_group_of", LARGEST.format(inner="SELECT p.{group} AS value, SUM(c.{count}) AS total FROM {joined} WHERE c.{kind} = '{one}' GROUP BY p.{group}", column="value"),
           "the {group} whose {parent} have the largest sum of {count} in {child} with {kind} {one}", "在 {kind} 为 {one} 的 {child} 中 {count} 之和最大的 {group}", gives="group", draws="k", rules=()),
    asking("total_of_name", "SELECT SUM(c.{count} * c.{price}) FROM {joined} WHERE p.name = '{x}'",
           "the sum of {count} times {price} over the {child} of {x}", "{x} 的 {child} 的 {count} 乘以 {price} 之和", takes="name"),
    asking("total_of_neighbours", "SELECT SUM(c.{count} * c.{price}) FROM {joined} WHERE p.name <> '{x}' AND p.{group} = (SELECT {group} FROM {parent} WHERE name = '{x}')",
           "the sum of {count} times {price} over the {child} of the other {parent} with the same {group} as {x}", "与 {x} 的 {group} 相同的其他 {parent} 的 {child} 的 {count} 乘以 {price} 之和", takes="name"),
    asking("kind_of_name", LARGEST.format(inner="SELECT c.{kind} AS value, SUM(c.{count}) AS total FROM {joined} WHERE p.name = '{x}' GROUP BY c.{kind}", column="value"),
           "the {kind} in which the {child} of {x} have the largest sum of {count}", "{x} 的 {child} 中 {count} 之和最大的 {kind}", takes="name", gives="kind", rules=()),
    asking("total_of_that_kind", "SELECT SUM({count} * {price}) FROM {child} WHERE {kind} = '{x}'",
           "the sum of {count} times {price} over the {child} with {kind} {x}", "{child} 中 {kind} 为 {x} 的各行 {count} 乘以 {price} 之和", takes="kind"),
    asking("total_beside_kind", "SELECT SUM({count} * {price}) FROM {child} WHERE {kind} <> '{x}' AND {link} IN (SELECT {link} FROM {child} WHERE {kind} = '{x}')",
           "the sum of {count} times {price} over the {child} with another {kind} than {x}, of those {parent} that have {child} with {kind} {x}", "有 {kind} 为 {x} 的 {child} 的各 {parent}，其 {kind} 不为 {x} 的 {child} 的 {count} 乘以 {price} 之和", takes="kind"),
    asking("group_of_kind", LARGEST.format(inner="SELECT p.{group} AS value, SUM(c.{count} * c.{price}) AS total FROM {joined} WHERE c.{kind} = '{x}' GROUP BY p.{group}", column="value"),
           "the {group} whose {parent} have the largest sum of {count} times {price} in {child} with {kind} {x}", "在 {kind} 为 {x} 的 {child} 中 {count} 乘以 {price} 之和最大的 {group}", takes="kind", gives="group"),
    asking("total_of_that_group", "SELECT SUM(c.{count} * c.{price}) FROM {joined} WHERE p.{group} = '{x}'",
           "the sum of {count} times {price} over the {child} of all {parent} with {group} {x}", "{group} 为 {x} 的 {parent} 的所有 {child} 中 {count} 乘以 {price} 之和", takes="group"),
    asking("total_elsewhere", "SELECT SUM(c.{count} * c.{price}) FROM {joined} WHERE p.{group} <> '{x}' AND c.{kind} = '{one}'",
           "the sum of {count} times {price} over the {child} with {kind} {one} of all {parent} with another {group} than {x}", "{group} 不为 {x} 的 {parent} 的 {child} 中，{kind} 为 {one} 的各行 {count} 乘以 {price} 之和", takes="group", draws="k"),
)  # fmt: skip

TABLE = {operator.name: operator for operator in OPERATORS}

TOPICS = {
    "join|relation|foreign|连接|关联|外键": ("total_of_group", "best_parent", "gap_between_groups"),
    "null|missing|unknown|空值|缺失": ("mean_of_kind", "count_above", "total_of_others"),
    "group|aggregat|sum|total|分组|聚合|求和|汇总": ("gap_between_groups", "second_total", "best_group_of"),
    "rank|window|largest|top|max|排名|窗口|最大": ("second_total", "best_parent", "busiest_parent"),
    "subquer|nested|exists|子查询|嵌套": ("total_above_mean", "total_of_others", "total_of_buyers_of_both"),
    "mean|average|median|平均|中位": ("mean_of_kind", "mean_per_unit", "median_of_totals"),
    "count|pair|self|计数|自连接": ("pairs_of_kinds", "count_above"),
}
"""What a seed may speak of → the operators that fit."""

WORLD_WORDS = {
    "shop": "shop|order|customer|sale|商店|订单|客户|销售",
    "garage": "garage|repair|car|mechanic|修理|汽车|车间",
    "farm": "farm|harvest|crop|grower|农场|收成|作物",
}

assert WORLDS.keys() == WORLD_WORDS.keys()
