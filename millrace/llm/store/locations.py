"""Where in the journal each paid answer stands: a table in memory from 64-bit keys to 64-bit numbers.

A dictionary takes some 150 bytes per entry. SQLite's table takes at most 48 (tests/llm asserts it), so that the journal of ten
million calls fits into memory.
"""

from __future__ import annotations

import sqlite3

_SIGN = 1 << 63
"""SQLite's integers are signed: keys are moved down by half of their range."""


class Locations:
    """Maps a key (any unsigned 64-bit number) to a location (any number below 2 ** 63)."""

    def __init__(self) -> None:
        self._table = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._table.execute("CREATE TABLE places (key INTEGER PRIMARY KEY, location INTEGER NOT NULL)")

    def __len__(self) -> int:
        count: int = self._table.execute("SELECT COUNT(*) FROM places").fetchone()[0]
        return count

    @property
    def bytes(self) -> int:
        """How much memory the table takes."""
        pages: int = self._table.execute("PRAGMA page_count").fetchone()[0]
        size: int = self._table.execute("PRAGMA page_size").fetchone()[0]
        return pages * size

    def get(self, key: int) -> int | None:
        """The location of `key`; None when it has none."""
        found = self._table.execute("SELECT location FROM places WHERE key = ?", (key - _SIGN,)).fetchone()
        return found[0] if found else None

    def put(self, key: int, location: int) -> bool:
        """Remember `location`, unless the key has one already; says whether it was new."""
        return self._table.execute("INSERT OR IGNORE INTO places VALUES (?, ?)", (key - _SIGN, location)).rowcount == 1

    def __del__(self) -> None:
        self._table.close()
