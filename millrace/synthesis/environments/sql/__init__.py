"""Two small tables and SQL: DuckDB answers a query, plain Python walks through the rows as the question shows them.

Needs the extra `sql`. The question shows both tables, so that it can be answered without the tool; the trajectory is one query
per hop. Which of several largest values is meant, what NULL does and how a mean is rounded is stated, or is not asked.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

from millrace.config import Settings
from millrace.run.ids import hash_files
from millrace.synthesis.environments import Start, Tool
from millrace.synthesis.environments.sql.engine import duckdb, sql_query
from millrace.synthesis.environments.sql.operators import TABLE, TOPICS, WORLD_WORDS
from millrace.synthesis.environments.sql.verifier import TablesVerifier
from millrace.synthesis.environments.sql.worlds import WORLDS, text_of, world_named

FRAMES = {
    "en": {
        "letters": "ABCDEFGH",
        "named": "the database",
        "start:database": "Two tables are given; {link} in {child} refers to id in {parent}.\n\n{value}\n\n",
        "start": "",
        "rule:null": "NULL stands for an unknown value: sums, means and medians leave it out, and no comparison with it holds.",
        "hop": "Let {v} be {phrase}.|{v} is {phrase}.",
        "ask": "What is {v}?|Find {v}.|Give {v}.",
    },
    "zh": {
        "letters": "ABCDEFGH",
        "named": "数据库",
        "start:database": "给定两张表；{child} 的 {link} 对应 {parent} 的 id。\n\n{value}\n\n",
        "start": "",
        "rule:null": "NULL 表示未知的值：求和、平均值与中位数都不计它，与它的任何比较都不成立。",
        "hop": "设 {v} 为{phrase}。|记 {v} 为{phrase}。",
        "ask": "{v} 是多少？|求 {v}。",
    },
}


class Options(Settings):
    """The environment's own settings (`environment_kwargs`); it has none."""


class SqlEnvironment:
    """Databases by name, one query at a time."""

    name = "sql"
    concurrent = False
    operators = TABLE
    frames = FRAMES

    def __init__(self, options: Options) -> None:
        del options
        self.verifier = TablesVerifier()
        self.versions = {"databases": hash_files(Path(__file__).with_name("worlds.py")), "duckdb": str(duckdb().__version__)}
        self.tools = {
            "sql_query": Tool(
                name="sql_query",
                description="Runs one SELECT statement (DuckDB's SQL) on a database and shows the rows of its result.",
                parameters={
                    "type": "object",
                    "properties": {
                        "database": {"type": "string", "description": "its name, as the question gives it"},
                        "sql": {"type": "string", "maxLength": 10_000},
                    },
                    "required": ["database", "sql"],
                    "additionalProperties": False,
                },
                call=sql_query,
            )
        }
        self.replay_tools = self.tools

    def start(self, seed: str, rng: random.Random) -> Start:
        """A database: of the world that the seed speaks of, else any; the seed's words choose what is asked."""
        named = [world for world, words in WORLD_WORDS.items() if re.search(words, seed, re.IGNORECASE)]
        prefer = [name for words, names in TOPICS.items() if re.search(words, seed, re.IGNORECASE) for name in names]
        name = f"{rng.choice(named or sorted(WORLDS))}_{rng.randrange(10_000, 100_000_000)}"
        world = world_named(name)
        assert world is not None
        args = {key: word for key, word in world.words().items() if key in ("parent", "child", "link")}
        return Start("database", text_of(name), args, match="keyword" if named or prefer else "fallback", prefer=tuple(prefer))

    def close(self) -> None:
        """Nothing to let go of."""


def open_environment(**options: Any) -> SqlEnvironment:
    """The sql environment."""
    return SqlEnvironment(Options(**options))
