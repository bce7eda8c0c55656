"""Coordinates and dates in all the ways they are written."""

from __future__ import annotations

import calendar
import datetime
import re
import unicodedata

CLOSE_SECONDS = 0.5
"""How far a coordinate in decimal degrees may be off: half a second of arc, which is the rounding to four places."""

HALVES = {"north": "N", "south": "S", "east": "E", "west": "W", "北纬": "N", "南纬": "S", "东经": "E", "西经": "W"}
MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_name) if name}


def seconds_of_arc(text: str) -> tuple[float, str, bool] | None:
    """(seconds of arc, its half N/S/E/W or a sign, whether it was written in decimals); None for anything else."""
    plain = unicodedata.normalize("NFC", text).strip().lower()
    plain = re.sub(r"\\(?:circ|degree)\b|\^\{?\\?circ\}?|\bdegrees?\b|\bdeg\b\.?|º|˚|度", "°", plain)
    plain = re.sub(r"\bminutes?\b|\bmin\b\.?|\\prime|[’‘ʹ´`'分]", "′", plain)
    plain = re.sub(r"\bseconds?\b|\bsec\b\.?|[”“\"秒]|′′", "″", plain)
    plain = plain.replace("−", "-")
    half = ""
    for name, letter in HALVES.items():
        if name in plain:
            half, plain = letter, plain.replace(name, " ", 1)
    letters = re.findall(r"[nsew]", plain)
    if len(letters) + bool(half) > 1:
        return None
    if letters:
        half, plain = letters[0].upper(), plain.replace(letters[0], " ", 1)
    plain = plain.strip(" ,.^{}$")
    sign = plain[:1] if plain[:1] in "+-" else ""
    match = re.fullmatch(
        r"(\d{1,3})(?:\s*°\s*|[\s:]+)(?:(\d{1,2})(?:\s*′\s*|[\s:]+|$)(?:(\d{1,2}(?:\.\d+)?)\s*″?)?)?", plain.lstrip("+-").strip()
    )
    if match and not (sign and half):
        degrees, minutes, seconds = int(match[1]), int(match[2] or 0), float(match[3] or 0)
        written = (degrees * 3600 + minutes * 60 + seconds, half or sign, False)
        return written if written[1] and minutes < 60 and seconds < 60 else None
    decimal = re.fullmatch(r"(\d{1,3}\.\d+)\s*°?", plain.lstrip("+-").strip())
    if decimal and (half or sign) and not (half and sign):
        return float(decimal[1]) * 3600, half or sign, True
    return None


def same_coordinate(true: str, said: str) -> bool:
    """Whether two coordinates are the same place on their axis."""
    mine, theirs = seconds_of_arc(true), seconds_of_arc(said)
    if mine is None or theirs is None:
        return False
    signs = {"N": "+", "E": "+", "S": "-", "W": "-"}
    if theirs[1] != mine[1] and theirs[1] != signs.get(mine[1]):
        return False
    return abs(mine[0] - theirs[0]) <= (CLOSE_SECONDS if theirs[2] else 0)


def date_of(text: str) -> datetime.date | None:
    """The day a text names; None where it names none, or could be read as two days."""
    plain = re.sub(r"(\d)(?:st|nd|rd|th)\b", r"\1", unicodedata.normalize("NFKC", text).strip().lower())
    plain = re.sub(r"^(?:mon|tues|wednes|thurs|fri|satur|sun)day,?\s+", "", plain).strip(" .")
    match = re.fullmatch(r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*[日号]?", plain) or re.fullmatch(
        r"(\d{4})(\d\d)(\d\d)", plain
    )
    if match:
        return _day(match[1], match[2], match[3])
    for pattern, order in (
        (r"([a-z]{3,9})\.?\s+(\d{1,2}),?\s+(\d{4})", (3, 1, 2)),
        (r"(\d{1,2})\.?\s+(?:of\s+)?([a-z]{3,9})\.?,?\s+(\d{4})", (3, 2, 1)),
    ):
        match = re.fullmatch(pattern, plain)
        if match:
            year, month, day = (match[place] for place in order)
            number = next((n for name, n in MONTHS.items() if name.startswith(month)), 0)
            return _day(year, str(number), day)
    return None


def _day(year: str, month: str, day: str) -> datetime.date | None:
    try:
        return datetime.date(int(year), int(month), int(day))
    except ValueError:
        return None
