"""What answers to claims about things in a picture are made of, and how the words of people and models are read into them.

Every slot that a claim asks for has a kind; a kind has a few values, in one spelling. `read_value` is lenient in wording
("Upper-left corner", "about 12 percent") and strict in meaning: what it can't read for sure is None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

NOT_RELATED = "NOT_RELATED"
"""The answer that a claim does not apply to the picture."""

SLOT_KINDS = {
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

GAP = "["
"""The word for an open slot or a blank."""

SYNONYMS: Mapping[str, str] = {
    **{word: str(number) for number, word in enumerate(NUMERALS) if word != "one"},
    **{f"{word}{ending}": str(number) for number, word in enumerate(NUMERALS) for ending in ("s", "es") if word != "one"},
    "%": "percent",
    "percentage": "percent",
    "no": "not",
    "none": "not",
    "without": "not",
    "upper": "top",
    "uppermost": "topmost",
    "highest": "topmost",
    "lower": "bottom",
    "lowermost": "bottommost",
    "lowest": "bottommost",
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
    "rotated": "turned",
    "oriented": "turned",
}
"""Words that mean the same here. `one` stays a word: "the red one" is not a number."""

_WORD = re.compile(r"[0-9]+(?:\.[0-9]+)?|[a-z]+|%|\[")
_GAPS = re.compile(r"\[[^\]]*\]|\{[^}]*\}|_{2,}|\.{3,}|…")
_REMARK = re.compile(r"\([^)]*\)")
_INSTRUCTION = re.compile(r"^\s*(?:complete|fill|name it|in one word)\b[^:]*:", re.IGNORECASE)


def words_of(text: str) -> list[str]:
    """`text` as plain lower-case words: synonyms replaced, `7s` as `7 s`, a slot or blank as `GAP`, punctuation gone."""
    folded = _GAPS.sub(f" {GAP} ", text).lower()
    folded = re.sub(r"\b(?:counter|anti)[- ]?clockwise", "counterclockwise", folded)
    folded = re.sub(r"\b(left|right|top|bottom)[- ]most\b", r"\1most", folded)
    found: list[str] = []
    for word in _WORD.findall(folded):
        found.extend(SYNONYMS.get(word, word).split())
    return found


def question_words(text: str) -> list[str]:
    """The words of a question without remarks in brackets and without how the answer is to be written ("Complete with …:")."""
    return words_of(_INSTRUCTION.sub("", _REMARK.sub(" ", text)))


def read_value(kind: str, text: str) -> str | None:
    """The value of `kind` that `text` means, in its one spelling; None when it means none or could mean two.

    A percentage is spelt `4.2%`; a count beyond the vocabulary stays a count.
    """
    words = words_of(text)
    if kind == "percent":
        return one_number(words, "{}%", limit=100)
    if kind == "count":
        return one_number(words, "{}", limit=999, whole=True, counted=True)
    if kind in {"region", "quarter"}:
        return _part(set(words), nine=kind == "region")
    found = {value for value, spellings in PHRASES[kind].items() if any(_holds(words, spelling) for spelling in spellings)}
    return found.pop() if len(found) == 1 else None


def percent(text: str) -> float:
    """The number in `4.2%`."""
    return float(text.rstrip("%"))


PHRASES: dict[str, dict[str, tuple[str, ...]]] = {
    "direction": {
        "left of": ("left",),
        "right of": ("right",),
        "above": ("above", "on top"),
        "below": ("below",),
        "in front of": ("in front",),
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
    "presence": {"yes": ("yes",)},
}
"""How the values of the kinds without numbers and regions are recognised, in words of `words_of`."""


def _holds(words: list[str], phrase: str) -> bool:
    parts = phrase.split()
    return any(words[start : start + len(parts)] == parts for start in range(len(words)))


def _part(words: set[str], *, nine: bool) -> str | None:
    """A region from the rows and columns that are named."""
    rows = words & {"top", "bottom"}
    columns = words & {"left", "right"}
    middle = bool(words & {"middle", "centre"})
    if len(rows) > 1 or len(columns) > 1 or "half" in words:
        return None
    if rows and columns:
        return None if middle else f"{rows.pop()} {columns.pop()}"
    if not nine or not middle:
        return None
    if rows:
        return f"{rows.pop()} centre"
    return f"middle {columns.pop()}" if columns else "centre"


def one_number(words: list[str], spelling: str, *, limit: float, whole: bool = False, counted: bool = False) -> str | None:
    """The only number among the words, spelt by `spelling`; None when there is none, several, or one beyond `limit`.

    Args:
        whole: only a whole number will do.
        counted: the word "one" is a number too, as it is where something is counted.
    """
    said = ["1" if counted and word == "one" else word for word in words]
    numbers = [float(word) for word in said if word[0].isdigit()]
    if len(numbers) != 1 or numbers[0] > limit or (whole and numbers[0] != int(numbers[0])):
        return None
    return spelling.format(f"{numbers[0]:g}")
