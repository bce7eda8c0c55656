"""Questions over tables: queries against rows by SQLite, which is always here; by DuckDB where it is installed."""

from __future__ import annotations

import random
import re
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from millrace.errors import UsageError
from millrace.records.synthesis import QAItem
from millrace.run.journal import read_records
from millrace.synthesis.environments import ToolError, Unprovable
from millrace.synthesis.environments.sql.operators import OPERATORS, TABLE
from millrace.synthesis.environments.sql.verifier import TablesVerifier
from millrace.synthesis.environments.sql.worlds import WORLDS, text_of
from millrace.synthesis.runs.synthesis_run import run_serially
from millrace.synthesis.scoring.reward import close_worlds, reward_of
from millrace.synthesis.settings import SynthesisConfig

NOT_IN_SQLITE = {"median_of_totals"}


def shown_tables(text: str) -> sqlite3.Connection:
    """The tables of a question, read from its text by code of this test's own."""
    base = sqlite3.connect(":memory:")
    for block in re.split(r"\n\n", text):
        match = re.match(r"(\w+): ([\w |]+)\n((?:.+ \| .+\n?)+)", block)
        if match:
            columns = match[2].split(" | ")
            numbers = {"id", "quantity", "price", "hours", "rate", "crates", "customer", "mechanic", "grower"}
            kinds = ", ".join(f"{column} {'INTEGER' if column in numbers else 'TEXT'}" for column in columns)
            base.execute(f"CREATE TABLE {match[1]} ({kinds})")
            rows = [[None if cell == "NULL" else cell for cell in line.split(" | ")] for line in match[3].splitlines()]
            base.executemany(f"INSERT INTO {match[1]} VALUES ({','.join('?' * len(columns))})", rows)
    return base


def shop(orders: str) -> str:
    """A shop with two customers and these orders."""
    customers = "customers: id | name | city\n1 | Ana | Oslo\n2 | Ben | Lyon"
    return f"Database shop_1\n\n{customers}\n\norders: id | customer | good | quantity | price\n{orders}"


def exact(sql: str) -> str:
    """SQLite divides integers as integers."""
    return re.sub(r"\) / SUM", ") * 1.0 / SUM", sql)


def answered(base: sqlite3.Connection, operator: Any, args: Any, values: list[Any]) -> Any:
    """The value that an operator reads from SQLite's answer to its query; None where there is none."""
    rows = base.execute(exact(operator.act(args, values)["sql"])).fetchall()
    text = "\n".join(
        ["column", *("NULL" if row[0] is None else str(row[0]) for row in rows), f"({len(rows)} row{'s' * (len(rows) != 1)})"]
    )
    try:
        return operator.read(args, values, text)
    except ValueError:
        return None


@pytest.mark.parametrize("world", WORLDS)
def test_every_query_and_the_walk_through_the_rows_come_to_the_same_value_or_both_to_none(world: str) -> None:
    rng, verifier = random.Random(world), TablesVerifier()
    proven = dict.fromkeys(TABLE, 0)
    refused = 0
    for number in range(60):
        text = text_of(f"{world}_{number}")
        base = shown_tables(text)
        before: dict[str, list[Any]] = {"database": [text]}
        for operator in sorted(OPERATORS, key=lambda one: one.takes != "database"):
            if operator.name in NOT_IN_SQLITE or operator.takes not in before:
                continue
            values = before[operator.takes]
            args = operator.draw(rng, values)
            assert args is not None
            said = answered(base, operator, args, values)
            try:
                found = verifier.apply(operator.name, args, values)
            except Unprovable:
                refused += 1
                continue
            assert found == said, (operator.name, args)
            proven[operator.name] += 1
            before.setdefault(operator.gives, [text, found])
        base.close()
    assert all(count > 20 for name, count in proven.items() if name not in NOT_IN_SQLITE), proven
    assert refused


def test_a_tie_is_no_answer_for_the_query_nor_for_the_walk() -> None:
    words = WORLDS["shop"].words()
    rows = "1 | 1 | lamp | 2 | 10\n2 | 2 | desk | 4 | 5\n3 | 2 | desk | 1 | NULL"
    text = shop(rows)
    assert answered(shown_tables(text), TABLE["best_parent"], words, [text]) is None
    with pytest.raises(Unprovable, match="2 have the largest"):
        TablesVerifier().apply("best_parent", words, [text])


def test_null_is_left_out_of_sums_and_means_and_nobodys_rows_belong_to_no_group() -> None:
    words = {**WORLDS["shop"].words(), "one": "lamp", "place": "Oslo"}
    rows = "1 | 1 | lamp | 2 | 10\n2 | 1 | lamp | 9 | NULL\n3 | NULL | lamp | 3 | 21\n4 | 2 | desk | 1 | NULL"
    text = shop(rows)
    verifier = TablesVerifier()
    assert verifier.apply("total_of_kind", words, [text]) == 83
    assert verifier.apply("mean_of_kind", words, [text]) == "15.50"
    assert verifier.apply("total_of_group", words, [text]) == 20
    with pytest.raises(Unprovable, match="no known value"):
        verifier.apply("total_of_kind", {**words, "one": "desk"}, [text])


def test_a_mean_between_two_roundings_is_not_asked() -> None:
    words = {**WORLDS["shop"].words(), "one": "lamp"}
    rows = "\n".join(f"{number} | 1 | lamp | 1 | {11 if number == 1 else 10}" for number in range(1, 9))
    text = shop(rows)
    with pytest.raises(Unprovable, match="between two roundings"):  # 10.125
        TablesVerifier().apply("mean_of_kind", words, [text])


def test_without_duckdb_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from millrace.synthesis.environments.sql import open_environment

    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(UsageError, match=r"millrace\[sql\]"):
        open_environment()


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE orders",
        "INSERT INTO orders VALUES (1, 1, 'lamp', 1, 1)",
        "SELECT 1; SELECT 2",
        "COPY orders TO '/tmp/orders.csv'",
        "SELECT * FROM read_csv('/etc/hostname')",
        "SELECT * FROM read_text('/etc/hostname')",
        "ATTACH '/tmp/x.db'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "SELECT getenv('HOME')",
        "no sql",
    ],
)
def test_the_tool_reads_its_own_tables_and_nothing_else(sql: str) -> None:
    pytest.importorskip("duckdb")
    from millrace.synthesis.environments.sql.engine import sql_query

    with pytest.raises(ToolError):
        sql_query("shop_7", sql)
    assert sql_query("shop_7", "SELECT COUNT(*) AS n FROM orders") == "n\n18\n(1 row)"
    with pytest.raises(ToolError, match="no database"):
        sql_query("shop_7; x", "SELECT 1")


def test_a_run_gives_proven_items_that_a_third_engine_answers_from_the_question_alone(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    (tmp_path / "seeds.txt").write_text("joins in a shop\n空值与平均\nranking in a garage\nnested subqueries\n")
    config = SynthesisConfig(
        environment_mode="sql", seeds=tmp_path / "seeds.txt", max_depth=3, min_depth=1, branching_factor=4, depth_threshold=2,
        max_selected_traj=5, max_answer_share=1, exports=["trl"],
    )  # fmt: skip
    run_serially(config, tmp_path / "run")
    items = list(read_records(tmp_path / "run" / "qa.jsonl", QAItem))
    assert len(items) >= 10
    assert {item.language for item in items} == {"en", "zh"}
    for item in items:
        base, chain = shown_tables(item.question), item.verifier.args.chain
        assert chain
        values = [chain.start.value]
        for hop in chain.hops:
            if hop.op not in NOT_IN_SQLITE:
                assert answered(base, TABLE[hop.op], hop.args, values) == hop.value
            values.append(hop.value)
        base.close()
        assert reward_of(encoded(item), item.answer) == 1
        assert reward_of(encoded(item), f"{float(item.answer) + 3}") == 0
    close_worlds()


def encoded(item: QAItem) -> str:
    from millrace.records.record import encode

    return encode(item.verifier.args).decode()
