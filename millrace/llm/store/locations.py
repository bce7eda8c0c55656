"""A compact table from 64-bit keys to 64-bit numbers: where in the journal each paid answer stands.

A dictionary takes some 100 bytes per entry; this takes 16 to 43, so that the journal of ten million calls fits into memory. The
table is cut into parts by the key, so that growing one never stops the event loop for long.
"""

from __future__ import annotations

from array import array

PARTS = 64
_FIRST = 64


class Locations:
    """Maps a key (any 64-bit number) to a location (any 64-bit number but the largest)."""

    def __init__(self) -> None:
        self._parts = [_Part() for _ in range(PARTS)]

    def __len__(self) -> int:
        return sum(part.count for part in self._parts)

    def get(self, key: int) -> int | None:
        """The location of `key`; None when it has none."""
        return self._parts[key % PARTS].get(key)

    def put(self, key: int, location: int) -> bool:
        """Remember `location`, unless the key has one already; says whether it was new."""
        return self._parts[key % PARTS].put(key, location)


class _Part:
    """Open addressing with linear probing; `location + 1`, so that 0 marks a free place."""

    def __init__(self) -> None:
        self.count = 0
        self._size = _FIRST
        self._keys = array("Q", bytes(8 * _FIRST))
        self._values = array("Q", bytes(8 * _FIRST))

    def get(self, key: int) -> int | None:
        value = self._values[self._place(key)]
        return value - 1 if value else None

    def put(self, key: int, location: int) -> bool:
        place = self._place(key)
        if self._values[place]:
            return False
        self._keys[place] = key
        self._values[place] = location + 1
        self.count += 1
        if self.count * 4 > self._size * 3:
            self._grow()
        return True

    def _place(self, key: int) -> int:
        place = (key // PARTS) % self._size
        while self._values[place] and self._keys[place] != key:
            place = (place + 1) % self._size
        return place

    def _grow(self) -> None:
        keys, values = self._keys, self._values
        self._size = self._size * 2
        self._keys = array("Q", bytes(8 * self._size))
        self._values = array("Q", bytes(8 * self._size))
        for key, value in zip(keys, values, strict=True):
            if value:
                place = self._place(key)
                self._keys[place] = key
                self._values[place] = value
