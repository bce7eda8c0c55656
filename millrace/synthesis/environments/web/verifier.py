"""Checks facts of the time-zone atlas in the raw tables; it never looks at a page, nor at the code that makes pages.

Own parser, coordinates as integers, regions and neighbours worked out again. A value that several zones or entries could claim is
unprovable.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from millrace.synthesis.environments import Unprovable, Value, Verifier


def parse(signed: str) -> tuple[int, str]:
    """A raw coordinate (`+6010`, `-0023230`): seconds of arc, and how it is written out without its letter."""
    digits = signed[1:]
    degrees_length = {4: 2, 5: 3, 6: 2, 7: 3}[len(digits)]
    degrees, rest = int(digits[:degrees_length]), digits[degrees_length:]
    minutes, seconds = int(rest[:2]), int(rest[2:] or 0)
    total = degrees * 3600 + minutes * 60 + seconds
    written = f"{degrees}°{minutes:02}′" + (f"{seconds:02}″" if len(rest) == 4 else "")
    return (-total if signed[0] == "-" else total), written


class Tables:
    """The raw rows, once."""

    def __init__(self) -> None:
        folder = importlib.resources.files("tzdata").joinpath("zoneinfo")
        self.code_of: dict[str, str] = {}
        names: dict[str, str] = {}
        for line in folder.joinpath("iso3166.tab").read_text("utf-8").split("\n"):
            if line and line[0] != "#":
                code, name = line.split("\t")
                names[code], self.code_of[name] = name, code
        self.users: dict[str, list[str]] = {}
        self.where: dict[str, tuple[int, int]] = {}
        self.written: dict[str, tuple[str, str]] = {}
        self.comments: dict[str, str] = {}
        for line in folder.joinpath("zone1970.tab").read_text("utf-8").split("\n"):
            if line and line[0] != "#":
                codes, coordinates, zone, *comment = line.split("\t")
                cut = max(coordinates.rfind("+"), coordinates.rfind("-"))
                (north, latitude), (east, longitude) = parse(coordinates[:cut]), parse(coordinates[cut:])
                self.users[zone] = [names[code] for code in codes.split(",")]
                self.where[zone] = (north, east)
                self.written[zone] = (
                    latitude + ("S" if coordinates[0] == "-" else "N"),
                    longitude + ("W" if coordinates[cut] == "-" else "E"),
                )
                self.comments[zone] = comment[0] if comment else ""

    def zones_of(self, entry: str) -> list[str]:
        """The zones of an entry."""
        return [zone for zone, users in self.users.items() if entry in users]

    def zones_in(self, region: str) -> list[str]:
        """The zones of a region (which may share its name with an entry: Antarctica does)."""
        return [zone for zone in self.users if zone.startswith(f"{region}/")]

    def neighbour(self, zone: str, step: int) -> str:
        """The one zone of the same region that lies next to the east (step 1) or west (-1), from 180°W to 180°E; none beyond."""
        mine = self.where[zone][1] * step
        beyond = [other for other in self.zones_in(zone.split("/", maxsplit=1)[0]) if self.where[other][1] * step > mine]
        nearest = min((self.where[other][1] * step for other in beyond), default=0)
        level = [other for other in self.zones_in(zone.split("/", maxsplit=1)[0]) if self.where[other][1] * step == mine]
        if len(level) > 1:
            raise Unprovable(f"{len(level)} zones of the region lie on the longitude of {zone}")
        return _sole([other for other in beyond if self.where[other][1] * step == nearest])


def _sole(found: list[str]) -> str:
    if len(found) != 1:
        raise Unprovable(f"{len(found)} candidates where one is needed")
    return found[0]


class WebVerifier(Verifier):
    """Recomputes chains of facts from the tables."""

    name = "web/raw-table@2"

    def __init__(self) -> None:
        self.tables = Tables()
        t = self.tables
        self._large_entries = [name for name in t.code_of if len(t.zones_of(name)) > 2]
        self._compute: dict[str, Callable[..., Value]] = {
            "find_entry": lambda values: _sole([name for name in t.code_of if name == values[-1]]),
            "sole_zone": lambda values: _sole(t.zones_of(values[-1])),
            "next_entry": self._next_entry,
            "iso_code": lambda values: t.code_of[values[-1]],
            "kth_from_north": lambda values, k: self._kth(t.zones_in(values[-1]), k),
            "kth_zone_from_north": lambda values, k: self._kth(t.zones_of(values[-1]), k),
            "other_entry": lambda values, other: _sole([name for name in t.users[values[-1]] if name != values[other]]),
            "main_entry": lambda values: t.users[values[-1]][0],
            "last_entry": lambda values: t.users[values[-1]][-1],
            "eastern_neighbour": lambda values: t.neighbour(values[-1], 1),
            "western_neighbour": lambda values: t.neighbour(values[-1], -1),
            "region_of": lambda values: values[-1][: values[-1].index("/")],
            "latitude": lambda values: t.written[values[-1]][0],
            "longitude": lambda values: t.written[values[-1]][1],
            "comment": lambda values: t.comments[values[-1]],
            "latitude_gap": lambda values, other: abs(t.where[values[-1]][0] - t.where[values[other]][0]),
            "longitude_gap": lambda values, other: abs(t.where[values[-1]][1] - t.where[values[other]][1]),
        }
        for name, axis, sign in (("northernmost", 0, 1), ("southernmost", 0, -1), ("easternmost", 1, 1), ("westernmost", 1, -1)):
            self._compute[f"{name}_of_entry"] = partial(self._furthest, t.zones_of, axis, sign)
            self._compute[f"{name}_of_region"] = partial(self._furthest, t.zones_in, axis, sign)

    def origin(self, start: Mapping[str, Any]) -> Value:
        """The start is the name of an entry of the table."""
        if start["kind"] != "name" or start["value"] not in self.tables.code_of:
            raise Unprovable("a walk through the atlas starts from an entry's name")
        return start["value"]

    def apply(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Value:
        """One hop, from the tables."""
        if op not in self._compute:
            raise Unprovable(f"no second way is known for '{op}'")
        try:
            return self._compute[op](values, **args)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise Unprovable(f"{op} of {values[-1]}: {error!r}") from error

    def alternatives(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Sequence[Value]:
        """Other values of the same kind, from all over the tables: what somebody who skipped the hop would have to guess from."""
        true, t = values[-1], self.tables
        if true in t.users:
            same_region, everywhere = t.zones_in(true.split("/")[0]), sorted(t.users)
            place = same_region.index(true)
            near = [same_region[(place + step) % len(same_region)] for step in (1, 2, 5)]
            return [zone for zone in dict.fromkeys([*near, *everywhere[place % 29 :: 29]]) if zone != true]
        if true in t.code_of and op != "region_of":
            names = sorted(t.code_of)
            place = names.index(true)
            near = [names[(place + step) % len(names)] for step in (1, 2, 3, 5, 8, 13)]
            return [name for name in dict.fromkeys([*near, *self._large_entries]) if name != true]
        regions = dict.fromkeys(zone.split("/")[0] for zone in t.users)
        return [region for region in regions if region != true] if true in regions else []

    def _next_entry(self, values: Sequence[Value]) -> str:
        names = sorted(self.tables.code_of)
        return names[(names.index(values[-1]) + 1) % len(names)]

    def _kth(self, zones: list[str], k: int) -> str:
        where = self.tables.where
        return _sole([zone for zone in zones if sum(where[other][0] > where[zone][0] for other in zones) == k - 1])

    def _furthest(self, listed: Callable[[str], list[str]], axis: int, sign: int, values: Sequence[Value]) -> str:
        where, zones = self.tables.where, listed(values[-1])
        if len(zones) < 2:
            raise Unprovable(f"{len(zones)} zones are too few to compare")
        return _sole([zone for zone in zones if all(where[zone][axis] * sign >= where[other][axis] * sign for other in zones)])
