"""The web preset's questions, computed from their words and the tables of the tz database."""

# ruff: noqa: E501 - a phrase and how it is computed stand together

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from tests.synthesis.answers import chains
from tests.synthesis.answers.chains import n, v


class Zone(NamedTuple):
    """A line of zone1970.tab."""

    name: str
    users: tuple[str, ...]
    written: tuple[str, str]
    """Latitude and longitude in degrees and minutes."""
    seconds: tuple[int, int]
    """The same in seconds of arc, north and east positive."""
    comment: str


def _lines(table: str) -> list[list[str]]:
    text = (resources.files("tzdata") / "zoneinfo" / table).read_text("utf-8")
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]


@cache
def codes() -> dict[str, str]:
    """Entry → code."""
    return {name: code for code, name in _lines("iso3166.tab")}


def _angle(digits: str, sign: str) -> tuple[str, int]:
    degrees = len(digits) - (4 if len(digits) > 5 else 2)
    d, m, s = digits[:degrees], digits[degrees : degrees + 2], digits[degrees + 2 :]
    seconds = int(d) * 3600 + int(m) * 60 + int(s or 0)
    mark = {"+": 1, "-": -1}[sign]
    return f"{int(d)}°{m}′" + (f"{s}″" if s else ""), mark * seconds


@cache
def zones() -> dict[str, Zone]:
    """Zone by name."""
    names = {code: name for name, code in codes().items()}
    found = {}
    for users, place, zone, *comment in _lines("zone1970.tab"):
        said = re.fullmatch(r"([+-])(\d+)([+-])(\d+)", place)
        assert said
        north, east = _angle(said[2], said[1]), _angle(said[4], said[3])
        written = (north[0] + ("N" if said[1] == "+" else "S"), east[0] + ("E" if said[3] == "+" else "W"))
        found[zone] = Zone(zone, tuple(names[code] for code in users.split(",")), written, (north[1], east[1]), "".join(comment))
    return found


class Region(str):
    """A name that the question introduces as a region's: some entries have the same one."""

    __slots__ = ()


def listed(name: str) -> list[Zone]:
    """The zones on the page of an entry or of a region, whichever the question says that it is."""
    if isinstance(name, Region):
        return [zone for zone in zones().values() if zone.name.split("/")[0] == name]
    assert name in codes(), f"{name} is no entry"
    return [zone for zone in zones().values() if name in zone.users]


def sole(among: list[Zone]) -> str:
    assert len(among) == 1, [zone.name for zone in among]
    return among[0].name


def furthest(name: str, axis: int, sign: int) -> str:
    best = max(zone.seconds[axis] * sign for zone in listed(name))
    return sole([zone for zone in listed(name) if zone.seconds[axis] * sign == best])


def from_north(name: str, k: int) -> str:
    ranked = sorted((zone.seconds[0] for zone in listed(name)), reverse=True)
    return sole([zone for zone in listed(name) if zone.seconds[0] == ranked[k - 1]])


def neighbour(name: str, sign: int) -> str:
    mine = zones()[name]
    region = [zone for zone in zones().values() if zone.name.split("/")[0] == name.split("/", maxsplit=1)[0]]
    assert sum(zone.seconds[1] == mine.seconds[1] for zone in region) == 1, f"others lie on the longitude of {name}"
    beyond = [zone for zone in region if zone.seconds[1] * sign > mine.seconds[1] * sign]
    nearest = min(zone.seconds[1] * sign for zone in beyond)
    return sole([zone for zone in beyond if zone.seconds[1] * sign == nearest])


def next_entry(name: str) -> str:
    names = sorted(codes())
    return names[(names.index(name) + 1) % len(names)]


def other_user(zone: str, entry: str) -> str:
    assert entry in zones()[zone].users
    found = [user for user in zones()[zone].users if user != entry]
    assert len(found) == 1
    return found[0]


def gap(one: str, other: str, axis: int) -> int:
    return abs(zones()[one].seconds[axis] - zones()[other].seconds[axis])


NAME_EN, NAME_ZH = r'(?:"(?P<start>[^"]+)"|(?P<v>[A-Q]))', r"(?:“(?P<start>[^”]+)”|(?P<v>[A-Q]))"


def _given(start: str | None = None, v: str | None = None) -> str:
    said = start or v
    assert said
    return said


def _ways(patterns: list[tuple[str, Callable[..., Any]]], name: str) -> dict[str, Callable[..., Any]]:
    """In the patterns, X stands for the input: the quoted start, or a letter."""
    return {pattern.replace("X", name): compute for pattern, compute in patterns}


EN = _ways(
    [
        ("the only zone on the page of X", lambda **x: sole(listed(_given(**x)))),
        ("the entry that the page of X names as the next one in the index", lambda **x: next_entry(_given(**x))),
        ("the ISO 3166 code on the page of X", lambda **x: codes()[_given(**x)]),
        (rf"number {n()} from the north among the zones on the page of X", lambda n, **x: from_north(_given(**x), n)),
        (rf'the entry other than (?:"(?P<w>[^"]+)"|{v("v1")}) that uses {v("v2")}', lambda v2, w=None, v1=None: other_user(v2, w or v1)),
        (rf"the entry listed first on the page of {v('v1')}", lambda v1: zones()[v1].users[0]),
        (rf"the entry listed last on the page of {v('v1')}", lambda v1: zones()[v1].users[-1]),
        (rf"the next zone of the region to the east of {v('v1')} \(longitudes from 180°W to 180°E\)", lambda v1: neighbour(v1, 1)),
        (rf"the next zone of the region to the west of {v('v1')} \(longitudes from 180°W to 180°E\)", lambda v1: neighbour(v1, -1)),
        (rf"the region that {v('v1')} belongs to", lambda v1: Region(v1.split("/")[0])),
        (rf"the latitude of the principal location of {v('v1')}, as written on its page", lambda v1: zones()[v1].written[0]),
        (rf"the longitude of the principal location of {v('v1')}, as written on its page", lambda v1: zones()[v1].written[1]),
        (rf"the comment on the page of {v('v1')}", lambda v1: zones()[v1].comment),
        (rf"the difference between the latitudes of the principal locations of {v('v1')} and {v('v2')}, in seconds of arc", lambda v1, v2: gap(v1, v2, 0)),
        (rf"the difference between the longitudes of the principal locations of {v('v1')} and {v('v2')} \(east positive, west negative\), in seconds of arc", lambda v1, v2: gap(v1, v2, 1)),
        ("the zone that lies furthest north among those on the page of X", lambda **x: furthest(_given(**x), 0, 1)),
        ("the zone that lies furthest south among those on the page of X", lambda **x: furthest(_given(**x), 0, -1)),
        (r"the zone with the easternmost longitude \(180°W to 180°E\) on the page of X", lambda **x: furthest(_given(**x), 1, 1)),
        (r"the zone with the westernmost longitude \(180°W to 180°E\) on the page of X", lambda **x: furthest(_given(**x), 1, -1)),
    ],
    NAME_EN,
)  # fmt: skip

ZH = _ways(
    [
        ("X 的页面上唯一的时区", lambda **x: sole(listed(_given(**x)))),
        ("X 的页面所说索引中的下一个条目", lambda **x: next_entry(_given(**x))),
        ("X 的页面上的 ISO 3166 代码", lambda **x: codes()[_given(**x)]),
        (rf"X 的页面所列时区中从北往南数第 {n()} 个", lambda n, **x: from_north(_given(**x), n)),
        (rf"除 (?:“(?P<w>[^”]+)”|{v('v1')}) 外使用 {v('v2')} 的条目", lambda v2, w=None, v1=None: other_user(v2, w or v1)),
        (rf"{v('v1')} 的页面上列在最前的条目", lambda v1: zones()[v1].users[0]),
        (rf"{v('v1')} 的页面上列在最后的条目", lambda v1: zones()[v1].users[-1]),
        (rf"{v('v1')} 以东同区域的下一个时区（经度从 180°W 到 180°E）", lambda v1: neighbour(v1, 1)),
        (rf"{v('v1')} 以西同区域的下一个时区（经度从 180°W 到 180°E）", lambda v1: neighbour(v1, -1)),
        (rf"{v('v1')} 所属的区域", lambda v1: Region(v1.split("/")[0])),
        (rf"{v('v1')} 的页面所写主要地点的纬度", lambda v1: zones()[v1].written[0]),
        (rf"{v('v1')} 的页面所写主要地点的经度", lambda v1: zones()[v1].written[1]),
        (rf"{v('v1')} 的页面上的注释", lambda v1: zones()[v1].comment),
        (rf"{v('v1')} 与 {v('v2')} 的主要地点的纬度差（角秒）", lambda v1, v2: gap(v1, v2, 0)),
        (rf"{v('v1')} 与 {v('v2')} 的主要地点的经度差（东经为正、西经为负，角秒）", lambda v1, v2: gap(v1, v2, 1)),
        ("X 的页面所列时区中位置最北的时区", lambda **x: furthest(_given(**x), 0, 1)),
        ("X 的页面所列时区中位置最南的时区", lambda **x: furthest(_given(**x), 0, -1)),
        ("X 的页面所列时区中经度最偏东的时区（180°W 至 180°E）", lambda **x: furthest(_given(**x), 1, 1)),
        ("X 的页面所列时区中经度最偏西的时区（180°W 至 180°E）", lambda **x: furthest(_given(**x), 1, -1)),
    ],
    NAME_ZH,
)  # fmt: skip

OPENING = {
    "en": r'On the time-zone atlas \(tzdata [\d.]+\), start from the (?P<name>entry) "(?P<value>[^"]+)"\. ',
    "zh": r"在时区图册（tzdata [\d.]+）中，从(?P<name>条目)“(?P<value>[^”]+)”出发。",
}
OTHERWISE = (
    (
        r'^Open the entry "([^"]+)" of the time-zone atlas (\(tzdata [\d.]+\))\.',
        r'On the time-zone atlas \2, start from the entry "\1".',
    ),
    (r"^打开时区图册（(tzdata [\d.]+)）的条目“([^”]+)”。", r"在时区图册（\1）中，从条目“\2”出发。"),
)


def answer(question: str, language: str) -> str:
    """The answer, as it is written."""
    for other, said in OTHERWISE:
        question = re.sub(other, said, question)
    found: Any = chains.answer(OPENING[language], question, language, EN if language == "en" else ZH, str)
    return str(found)
