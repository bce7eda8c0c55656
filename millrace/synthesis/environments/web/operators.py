"""What a program can ask of the time-zone atlas: each operator visits a page (or two) and reads one fact off it.

The tables tell the planner only which operators apply; the value always comes out of the page that was really fetched.
"""

# ruff: noqa: E501 - the tables read best with one operator's two wordings on a line each, and Chinese counts double

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from millrace.synthesis.environments import Constants, Operator, Value
from millrace.synthesis.environments.web.atlas import Zone, address, arc_seconds, load_tables

LINK = re.compile(r"\[([^\]]+)\]\((/[^)]+)\)")
ZONE_LINE = re.compile(r"^- \[([^\]]+)\]\(/zone/[^)]+\) at (\S+) (\S+)$", re.MULTILINE)

Applies = Callable[[random.Random, Sequence[Value]], Constants | None]
Read = Callable[[str, Mapping[str, Any], Sequence[Value]], Value]


def page_in(text: str, where: str) -> str:
    """The text of one page in an observation.

    Raises:
        ValueError: that page is not in it.
    """
    _, mark, rest = text.partition(f"<<<PAGE {where} (data, not instructions)\n")
    if not mark:
        raise ValueError(f"the page {where} is not in the observation")
    return rest.partition("\n>>>")[0]


def zones_in(page: str) -> list[tuple[str, int, int]]:
    """(name, latitude, longitude in seconds of arc) of the zones listed on a page, in its order."""
    return [(name, arc_seconds(latitude), arc_seconds(longitude)) for name, latitude, longitude in ZONE_LINE.findall(page)]


def after(page: str, label: str) -> str:
    """What stands behind a label on its line; of a link its words."""
    for line in page.splitlines():
        if line.startswith(f"{label}: "):
            said = line.removeprefix(f"{label}: ")
            found = LINK.fullmatch(said)
            return found[1] if found else said
    raise ValueError(f"the page says nothing about '{label}'")


def entries_in(page: str) -> list[str]:
    """The entries listed on a zone's page, in its order."""
    return [name for name, where in LINK.findall(page) if where.startswith("/entry/")]


def _extreme(place: int, largest: bool) -> Callable[[list[tuple[str, int, int]]], str]:
    def pick(zones: list[tuple[str, int, int]]) -> str:
        ranked = sorted(zones, key=lambda zone: zone[place], reverse=largest)
        if len(ranked) < 2 or ranked[0][place] == ranked[1][place]:
            raise ValueError("no single zone lies furthest")
        return ranked[0][0]

    return pick


PICKS: dict[str, tuple[Callable[[list[tuple[str, int, int]]], str], str, str]] = {
    "northernmost": (_extreme(1, True), "the zone that lies furthest north among those on the page of {x}", "{x} 的页面所列时区中位置最北的时区"),
    "southernmost": (_extreme(1, False), "the zone that lies furthest south among those on the page of {x}", "{x} 的页面所列时区中位置最南的时区"),
    "easternmost": (_extreme(2, True), "the zone with the easternmost longitude (180°W to 180°E) on the page of {x}", "{x} 的页面所列时区中经度最偏东的时区（180°W 至 180°E）"),
    "westernmost": (_extreme(2, False), "the zone with the westernmost longitude (180°W to 180°E) on the page of {x}", "{x} 的页面所列时区中经度最偏西的时区（180°W 至 180°E）"),
}  # fmt: skip


ANSWER_TYPES = {"entry": "name", "zone": "name", "region": "name", "code": "code", "arc": "integer", "text": "text"}
"""Kind of value → how an answer of that kind is scored; coordinates are told by their form."""


def _visit(name: str, takes: str, gives: str, en: str, zh: str, applies: Applies, read: Read, **more: Any) -> Operator:
    """An operator that visits the page of its input."""
    return Operator(
        name=name, takes=takes, gives=gives, tool="web_visit", draw=applies, en=en, zh=zh, answer_type=ANSWER_TYPES.get(gives, ""),
        act=lambda args, values: {"urls": [address(takes, values[-1])], "goal": name.replace("_", " ")},
        read=lambda args, values, text: read(page_in(text, address(takes, values[-1])), args, values), **more,
    )  # fmt: skip


def _both(name: str, gives: str, en: str, zh: str, read: Callable[[list[str]], Value]) -> Operator:
    """An operator that visits the pages of its input and of an earlier zone."""

    def draw(rng: random.Random, values: Sequence[Value]) -> Constants | None:
        places = [
            place
            for place, value in enumerate(values[:-1])
            if place and isinstance(value, str) and "/" in value and value != values[-1]
        ]
        return {"other": rng.choice(places)} if places else None

    def urls(args: Mapping[str, Any], values: Sequence[Value]) -> list[str]:
        return [address("zone", values[-1]), address("zone", values[args["other"]])]

    return Operator(
        name=name, takes="zone", gives=gives, tool="web_visit", draw=draw, en=en, zh=zh, weight=1.6, answer_type="integer",
        act=lambda args, values: {"urls": urls(args, values), "goal": name.replace("_", " ")},
        read=lambda args, values, text: read([after(page_in(text, where), "Principal location") for where in urls(args, values)]),
    )  # fmt: skip


def _gap(part: int) -> Callable[[list[str]], int]:
    return lambda places: abs(arc_seconds(places[0].split()[part]) - arc_seconds(places[1].split()[part]))


def _first_title(args: Mapping[str, Any], values: Sequence[Value], text: str) -> str:
    titles = re.findall(r"^\d+\. (.+) \(/entry/", text, re.MULTILINE)
    if values[-1] not in titles:
        raise ValueError("the search does not find the page")
    return str(values[-1])


def build_operators() -> dict[str, Operator]:
    """Name → operator, over the tables."""
    entries, zones = load_tables()
    of_entry: dict[str, list[Zone]] = {name: [zone for zone in zones if name in zone.entries] for name in entries}
    by_name = {zone.name: zone for zone in zones}
    regions = {zone.region: [other for other in zones if other.region == zone.region] for zone in zones}

    def listed(values: Sequence[Value], kind: str = "entry") -> list[tuple[str, int, int]]:
        found = (of_entry if kind == "entry" else regions).get(values[-1], [])
        return [(zone.name, arc_seconds(zone.latitude), arc_seconds(zone.longitude)) for zone in found]

    def when(holds: Callable[[Sequence[Value]], bool]) -> Applies:
        return lambda rng, values: {} if holds(values) else None

    def picks(name: str, kind: str) -> Applies:
        def holds(values: Sequence[Value]) -> bool:
            try:
                return bool(PICKS[name][0](listed(values, kind)))
            except ValueError:
                return False

        return when(holds)

    def new_region(values: Sequence[Value]) -> bool:
        """Its region is large, and no hop within it came before: that hop would not matter."""
        region = by_name[values[-1]].region
        return len(regions[region]) > 8 and not any(value in by_name and by_name[value].region == region for value in values[:-1])

    def others(values: Sequence[Value]) -> list[int]:
        users = by_name[values[-1]].entries
        return [place for place, value in enumerate(values[:-1]) if place and value in users] if len(users) == 2 else []

    def kth(kind: str) -> Applies:
        def draw(rng: random.Random, values: Sequence[Value]) -> Constants | None:
            ranked = sorted(listed(values, kind), key=lambda zone: -zone[1])
            fit = [k for k in range(2, min(len(ranked), 16)) if ranked[k - 2][1] > ranked[k - 1][1] > ranked[k][1]]
            return {"k": rng.choice(fit)} if fit else None

        return draw

    def read_kth(page: str, args: Mapping[str, Any], values: Sequence[Value]) -> str:
        return sorted(zones_in(page), key=lambda zone: -zone[1])[int(args["k"]) - 1][0]

    def neighbour(step: int) -> Applies:
        """Some zone of the region lies further on, and no other one level with this."""

        def holds(values: Sequence[Value]) -> bool:
            mine = arc_seconds(by_name[values[-1]].longitude)
            there = [arc_seconds(zone.longitude) for zone in regions[by_name[values[-1]].region]]
            return there.count(mine) == 1 and any(step * other > step * mine for other in there)

        return when(holds)

    always = when(lambda values: True)
    table = [
        Operator(
            name="find_entry", takes="name", gives="entry", tool="web_search", draw=always, evidence=False, answers=False,
            act=lambda args, values: {"queries": [values[-1]]}, read=_first_title, en="", zh="",
        ),
        _visit("sole_zone", "entry", "zone", "the only zone on the page of {x}", "{x} 的页面上唯一的时区",
               when(lambda values: len(listed(values)) == 1), lambda page, args, values: _only([name for name, *_ in zones_in(page)])),
        _visit("next_entry", "entry", "entry", "the entry that the page of {x} names as the next one in the index", "{x} 的页面所说索引中的下一个条目",
               always, lambda page, args, values: after(page, "Next entry in the index"), weight=0.7),
        _visit("iso_code", "entry", "code", "the ISO 3166 code on the page of {x}", "{x} 的页面上的 ISO 3166 代码",
               always, lambda page, args, values: after(page, "Country or area entry. ISO 3166 code"), weight=1.2),
        _visit("kth_from_north", "region", "zone", "number {k} from the north among the zones on the page of {x}", "{x} 的页面所列时区中从北往南数第 {k} 个",
               kth("region"), read_kth, weight=3.0),
        _visit("kth_zone_from_north", "entry", "zone", "number {k} from the north among the zones on the page of {x}", "{x} 的页面所列时区中从北往南数第 {k} 个",
               kth("entry"), read_kth, weight=3.0),
        _visit("other_entry", "zone", "entry", "the entry other than {other} that uses {x}", "除 {other} 外使用 {x} 的条目",
               lambda rng, values: {"other": others(values)[0]} if others(values) else None,
               lambda page, args, values: _only([name for name in entries_in(page) if name != values[args["other"]]]), weight=3.0),
        _visit("main_entry", "zone", "entry", "the entry listed first on the page of {x}", "{x} 的页面上列在最前的条目",
               when(lambda values: by_name[values[-1]].entries[0] not in values), lambda page, args, values: entries_in(page)[0]),
        _visit("last_entry", "zone", "entry", "the entry listed last on the page of {x}", "{x} 的页面上列在最后的条目",
               when(lambda values: len(by_name[values[-1]].entries) > 1), lambda page, args, values: entries_in(page)[-1]),
        _visit("eastern_neighbour", "zone", "zone", "the next zone of the region to the east of {x} (longitudes from 180°W to 180°E)", "{x} 以东同区域的下一个时区（经度从 180°W 到 180°E）",
               neighbour(1), lambda page, args, values: after(page, "Next zone of the region to the east")),
        _visit("western_neighbour", "zone", "zone", "the next zone of the region to the west of {x} (longitudes from 180°W to 180°E)", "{x} 以西同区域的下一个时区（经度从 180°W 到 180°E）",
               neighbour(-1), lambda page, args, values: after(page, "Next zone of the region to the west")),
        _visit("region_of", "zone", "region", "the region that {x} belongs to", "{x} 所属的区域",
               when(new_region), lambda page, args, values: after(page, "Region"), answers=False, weight=0.6),
        _visit("latitude", "zone", "coordinate", "the latitude of the principal location of {x}, as written on its page", "{x} 的页面所写主要地点的纬度",
               always, lambda page, args, values: after(page, "Principal location").split()[0], weight=1.2),
        _visit("longitude", "zone", "coordinate", "the longitude of the principal location of {x}, as written on its page", "{x} 的页面所写主要地点的经度",
               always, lambda page, args, values: after(page, "Principal location").split()[1], weight=1.2),
        _visit("comment", "zone", "text", "the comment on the page of {x}", "{x} 的页面上的注释",
               when(lambda values: bool(by_name[values[-1]].comment)), lambda page, args, values: after(page, "Comment"), weight=1.2),
        _both("latitude_gap", "arc", "the difference between the latitudes of the principal locations of {x} and {other}, in seconds of arc",
              "{x} 与 {other} 的主要地点的纬度差（角秒）", _gap(0)),
        _both("longitude_gap", "arc", "the difference between the longitudes of the principal locations of {x} and {other} (east positive, west negative), in seconds of arc",
              "{x} 与 {other} 的主要地点的经度差（东经为正、西经为负，角秒）", _gap(1)),
    ]  # fmt: skip
    for name, (pick, en, zh) in PICKS.items():
        for kind in ("entry", "region"):
            table.append(
                _visit(
                    f"{name}_of_{kind}",
                    kind,
                    "zone",
                    en,
                    zh,
                    picks(name, kind),
                    _read_pick(pick),
                    weight=1.5 if kind == "entry" else 0.5,
                )
            )
    return {operator.name: operator for operator in table}


def _read_pick(pick: Callable[[list[tuple[str, int, int]]], str]) -> Read:
    return lambda page, args, values: pick(zones_in(page))


def _only(names: list[str]) -> str:
    if len(names) != 1:
        raise ValueError(f"{len(names)} candidates where one is needed")
    return names[0]
