"""The tool `sql_query`: one SELECT statement on a database, by DuckDB in memory, without files, network or extensions."""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import Any

from millrace.errors import UsageError
from millrace.synthesis.environments import ToolError
from millrace.synthesis.environments.sql.worlds import columns_of, rows_of, world_named

MAX_ROWS = 50
"""Further rows of a result are not shown."""

CONFIG = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "memory_limit": "256MB",
    "threads": "1",
    "lock_configuration": "true",
}


def duckdb() -> ModuleType:
    """The module.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import duckdb as module
    except ImportError:
        raise UsageError("the environment 'sql' needs DuckDB: pip install 'millrace[sql]'") from None
    return module  # type: ignore[no-any-return]


def sql_query(database: str, sql: str) -> str:
    """The tool: the result's columns, its rows, and how many there are."""
    module = duckdb()
    if world_named(database) is None:
        raise ToolError(f"no database '{database}'")
    try:
        statements = module.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != module.StatementType.SELECT:
            raise ToolError("one SELECT statement is allowed")
        found = _opened(database).execute(statements[0])
        columns, rows = [column[0] for column in found.description], found.fetchmany(MAX_ROWS + 1)
    except module.Error as error:
        raise ToolError(str(error)) from None
    lines = [" | ".join(columns), *(" | ".join(map(_shown, row)) for row in rows[:MAX_ROWS])]
    more = f"more than {MAX_ROWS} rows" if len(rows) > MAX_ROWS else f"{len(rows)} row{'s' * (len(rows) != 1)}"
    return "\n".join([*lines, f"({more})"])


@lru_cache(maxsize=8)
def _opened(name: str) -> Any:
    """A database in memory; statements that change it are not let through."""
    world = world_named(name)
    assert world is not None
    base = duckdb().connect(":memory:", config=CONFIG)
    parents, children = columns_of(world)
    base.execute(f"CREATE TABLE {world.parent} ({parents[0]} INTEGER, {parents[1]} VARCHAR, {parents[2]} VARCHAR)")
    kinds = ("INTEGER", "INTEGER", "VARCHAR", "INTEGER", "INTEGER")
    base.execute(f"CREATE TABLE {world.child} ({', '.join(map(' '.join, zip(children, kinds, strict=True)))})")
    for table, rows in zip((world.parent, world.child), rows_of(name), strict=True):
        base.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)  # noqa: S608 - our own names
    return base


def _shown(value: object) -> str:
    return "NULL" if value is None else str(value)
