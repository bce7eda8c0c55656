"""A web site made of real tables: the time-zone atlas, one page per country entry, zone and region of the tz database.

The tables ship with the `tzdata` package and are in the public domain. Their header says that they take no position on
territorial claims, so a page speaks of a "country or area entry".
"""

from __future__ import annotations

import html
import importlib.resources
import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Zone:
    """One row of zone1970.tab."""

    name: str
    latitude: str
    longitude: str
    entries: tuple[str, ...]
    """Names of the countries or areas, the main one first."""
    comment: str

    @property
    def region(self) -> str:
        """The first part of the name."""
        return self.name.split("/")[0]


def slug(name: str) -> str:
    """A name as part of an address."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


def address(kind: str, name: str) -> str:
    """Where the page of an entry, a zone or a region is."""
    return f"/{kind}/{slug(name)}.html"


def load_tables() -> tuple[dict[str, str], list[Zone]]:
    """Entry name → ISO code, and all zones, in the tables' order."""
    folder = importlib.resources.files("tzdata") / "zoneinfo"
    codes = {code: name for code, name in _rows(folder.joinpath("iso3166.tab").read_text(encoding="utf-8"))}  # noqa: C416
    zones = []
    for row in _rows(folder.joinpath("zone1970.tab").read_text(encoding="utf-8")):
        where = re.fullmatch(r"([+-]\d+)([+-]\d+)", row[1])
        assert where, row
        zones.append(
            Zone(
                name=row[2],
                latitude=_degrees(where[1], "NS"),
                longitude=_degrees(where[2], "EW"),
                entries=tuple(codes[code] for code in row[0].split(",")),
                comment=row[3] if len(row) > 3 else "",
            )
        )
    return {name: code for code, name in codes.items()}, zones


def arc_seconds(written: str) -> int:
    """`60°10′N` as seconds of arc, south and west negative."""
    parts = [int(digits) for digits in re.findall(r"\d+", written)] + [0]
    return (parts[0] * 3600 + parts[1] * 60 + parts[2]) * (-1 if written[-1] in "SW" else 1)


def build_pages() -> dict[str, str]:
    """Address → HTML of every page, the index at `/`."""
    entries, zones = load_tables()
    pages = {
        "/": _page("Time-zone atlas", [_list("Country or area entries", [_link("entry", name) for name in sorted(entries)])])
    }
    names = sorted(entries)
    used = {name: [zone for zone in zones if name in zone.entries] for name in names}
    for place, name in enumerate(names):
        following = names[(place + 1) % len(names)]
        pages[address("entry", name)] = _page(
            name,
            [
                f"<p>Country or area entry. ISO 3166 code: {entries[name]}</p>",
                f"<p>Number of zones: {len(used[name])}</p>",
                _list("Zones", [_zone_line(zone) for zone in used[name]]),
                f"<p>Next entry in the index: {_link('entry', following)}</p>",
            ],
        )
    for region in sorted({zone.region for zone in zones}):
        members = [zone for zone in zones if zone.region == region]
        eastward = sorted(members, key=lambda zone: (arc_seconds(zone.longitude), zone.name))
        pages[address("region", region)] = _page(
            f"Region {region}",
            [f"<p>Number of zones: {len(members)}</p>", _list("Zones", [_zone_line(zone) for zone in members])],
        )
        for place, zone in enumerate(eastward):
            west, east = eastward[place - 1] if place else None, eastward[place + 1] if place + 1 < len(eastward) else None
            pages[address("zone", zone.name)] = _zone_page(zone, west, east)
    return pages


def _zone_page(zone: Zone, west: Zone | None, east: Zone | None) -> str:
    """`west`, `east`: the neighbours by longitude; None at the region's end: there is no way on that is not round the globe."""
    body = [
        f"<p>Principal location: {zone.latitude} {zone.longitude}</p>",
        f"<p>Region: {_link('region', zone.region)}</p>",
        _list("Entries that use this zone", [_link("entry", name) for name in zone.entries]),
    ]
    if west is not None:
        body.append(f"<p>Next zone of the region to the west: {_link('zone', west.name)}</p>")
    if east is not None:
        body.append(f"<p>Next zone of the region to the east: {_link('zone', east.name)}</p>")
    if zone.comment:
        body.append(f"<p>Comment: {html.escape(zone.comment)}</p>")
    return _page(zone.name, body)


def _zone_line(zone: Zone) -> str:
    return f"{_link('zone', zone.name)} at {zone.latitude} {zone.longitude}"


def _link(kind: str, name: str) -> str:
    return f'<a href="{address(kind, name)}">{html.escape(name)}</a>'


def _list(title: str, items: list[str]) -> str:
    return f"<h2>{title}</h2><ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def _page(title: str, body: list[str]) -> str:
    escaped = html.escape(title)
    head = f'<!doctype html><html lang="en"><head><title>{escaped}</title></head>'
    return f"{head}<body><h1>{escaped}</h1>{''.join(body)}</body></html>"


def _rows(table: str) -> list[list[str]]:
    return [line.split("\t") for line in table.splitlines() if line and not line.startswith("#")]


def _degrees(raw: str, letters: str) -> str:
    digits = raw[1:]
    whole = len(digits) - 2 if len(digits) < 6 else len(digits) - 4
    parts = f"{int(digits[:whole])}°{digits[whole : whole + 2]}′"
    if len(digits) > whole + 2:
        parts += f"{digits[whole + 2 :]}″"
    return parts + letters[raw[0] == "-"]
