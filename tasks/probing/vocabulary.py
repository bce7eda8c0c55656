"""The closed vocabularies of the answers, and how words that people and models use are read into them.

Every slot that a claim about digit scenes asks for has a kind; a kind has a few values. `read_value` is lenient in wording
("Upper-left corner", "seven", "about 12 percent") and strict in meaning: what it can't read for sure is None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

NOT_RELATED = "NOT_RELATED"
"""The answer that a claim does not apply to the picture."""

DIGITS = tuple(f"digit {label}" for label in range(10))
REGIONS = (
    "top left",
    "top centre",
    "top right",
    "middle left",
    "centre",
    "middle right",
    "bottom left",
    "bottom centre",
    "bottom right",
)
"""The nine parts of the picture, row by row."""
DIRECTIONS = ("left of", "right of", "above", "below", "in front of", "behind")
PLACES = ("leftmost", "rightmost", "topmost", "bottommost")
COUNTS = ("1", "2", "3", "4", "5", "6")
QUARTERS = ("top left", "top right", "bottom left", "bottom right")
"""The four quarters of the picture, row by row."""
POINTS = ("up", "right", "down", "left")
"""Where a digit's top points, by clockwise quarter-turns."""
TURNS = ("upright", "turned clockwise", "upside down", "turned counter-clockwise")
"""How a digit is turned, by clockwise quarter-turns."""
PERCENTS = ("0.7%", "1%", "1.4%", "2%", "2.8%", "4%", "5.5%", "8%", "11%", "16%", "22%", "32%")
"""The shares of the picture that the embedded baseline can say: steps of about 1.4, so the nearest is within a fifth."""

KINDS: dict[str, tuple[str, ...]] = {
    "digit": DIGITS,
    "region": REGIONS,
    "direction": DIRECTIONS,
    "place": PLACES,
    "percent": PERCENTS,
    "count": COUNTS,
    "quarter": QUARTERS,
    "point": POINTS,
    "turn": TURNS,
}
"""Every kind of answer with its values. For `percent` any number is a value, and these are the ones the baseline uses."""

SLOT_KINDS = {
    "ENTITY_TYPE": "digit",
    "ABSOLUTE_REGION": "region",
    "RELATIVE_DIRECTION": "direction",
    "RELATIVE_POSITION": "place",
    "PROPORTION": "percent",
    "COUNT": "count",
    "REGION_DESCRIPTION": "quarter",
    "VIEW_DIRECTION": "point",
    "OBJECT_DIRECTION": "turn",
}
"""The kind of answer that a slot takes."""

NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

SYNONYMS: Mapping[str, str] = {
    **{word: str(number) for number, word in enumerate(NUMERALS) if word != "one"},
    **{f"{word}{ending}": str(number) for number, word in enumerate(NUMERALS) for ending in ("s", "es")},
    "no": "not",
    "none": "not",
    "without": "not",
    "upper": "top",
    "uppermost": "topmost",
    "highest": "topmost",
    "lower": "bottom",
    "lowest": "bottommost",
    "lowermost": "bottommost",
    "center": "centre",
    "central": "centre",
    "anticlockwise": "counterclockwise",
    "beneath": "below",
    "under": "below",
    "underneath": "below",
    "over": "above",
    "upwards": "up",
    "upward": "up",
    "downwards": "down",
    "downward": "down",
    "rightwards": "right",
    "leftwards": "left",
    "upsidedown": "upside down",
    "inverted": "upside down",
    "violet": "purple",
    "numeral": "digit",
    "numerals": "digits",
    "numbers": "digits",
    "image": "picture",
    "photo": "picture",
    "scene": "picture",
    "quadrant": "quarter",
    "quadrants": "quarter",
    "quarters": "quarter",
    "biggest": "largest",
    "percentage": "percent",
    "%": "percent",
    "rotated": "turned",
    "oriented": "turned",
}
"""Words that mean the same here. `one` stays a word: "the red one" is not a number."""

_TOKENS = re.compile(r"[0-9]+(?:\.[0-9]+)?|[a-z]+|%|\[")
_GAPS = re.compile(r"\[[^\]]*\]|\{[^}]*\}|_{2,}|\.{3,}|…")


def words_of(text: str) -> list[str]:
    """`text` as plain lower-case words: synonyms replaced, `7s` as `7 s`, a slot as `[`, punctuation gone."""
    folded = _GAPS.sub(" [ ", text).lower()
    folded = re.sub(r"counter[- ]clockwise|anti[- ]clockwise", "counterclockwise", folded)
    found = []
    for word in _TOKENS.findall(folded):
        found.extend(SYNONYMS.get(word, word).split())
    return found


def read_value(kind: str, text: str) -> str | None:
    """The value of `kind` that `text` means, in its one spelling; None when it means none or could mean two.

    A percentage is spelt `4.2%`; a count beyond the vocabulary stays a count.
    """
    words = words_of(text)
    if kind == "percent":
        return _one_number(words, "{}%", limit=100)
    if kind == "count":
        return _one_number([_ONE.get(word, word) for word in words], "{}", limit=999, whole=True)
    if kind == "digit":
        label = _one_number([_ONE.get(word, word) for word in words], "{}", limit=9, whole=True)
        return None if label is None else f"digit {label}"
    if kind in {"region", "quarter"}:
        return _part(set(words), nine=kind == "region")
    found = {value for value, spellings in _PHRASES[kind].items() if any(_holds(words, spelling) for spelling in spellings)}
    return found.pop() if len(found) == 1 else None


_ONE = {"one": "1"}

_PHRASES: dict[str, dict[str, tuple[str, ...]]] = {
    "direction": {
        "left of": ("left",),
        "right of": ("right",),
        "above": ("above", "on top"),
        "below": ("below",),
        "in front of": ("front",),
        "behind": ("behind",),
    },
    "place": {
        "leftmost": ("leftmost", "far left", "furthest left"),
        "rightmost": ("rightmost", "far right", "furthest right"),
        "topmost": ("topmost", "top"),
        "bottommost": ("bottommost", "bottom"),
    },
    "point": {"up": ("up", "top"), "right": ("right",), "down": ("down", "bottom"), "left": ("left",)},
    "turn": {
        "upright": ("upright", "not turned"),
        "turned clockwise": ("clockwise",),
        "upside down": ("upside down",),
        "turned counter-clockwise": ("counterclockwise",),
    },
}


def _holds(words: list[str], phrase: str) -> bool:
    parts = phrase.split()
    return any(words[start : start + len(parts)] == parts for start in range(len(words)))


def _part(words: set[str], *, nine: bool) -> str | None:
    """A region from the rows and columns that are named."""
    rows = words & {"top", "bottom"}
    columns = words & {"left", "right"}
    middle = bool(words & {"middle", "centre"})
    if len(rows) > 1 or len(columns) > 1:
        return None
    if rows and columns:
        return None if middle else f"{rows.pop()} {columns.pop()}"
    if not nine or not middle:
        return None
    if rows:
        return f"{rows.pop()} centre"
    return f"middle {columns.pop()}" if columns else "centre"


def _one_number(words: list[str], spelling: str, *, limit: float, whole: bool = False) -> str | None:
    numbers = [float(word) for word in words if word[0].isdigit()]
    if len(numbers) != 1 or numbers[0] > limit or (whole and numbers[0] != int(numbers[0])):
        return None
    return spelling.format(f"{numbers[0]:g}")
