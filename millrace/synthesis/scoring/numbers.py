"""Numbers in all the ways they are written: grouped digits, fractions, mixed numbers, LaTeX, full-width signs."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

MAX_DIGITS = 400
"""Longer numbers are no answers to anything asked here, and must not cost time."""

GROUPED = re.compile(r"\d{1,3}(?:([ ,_'\u2009\u202f\u00a0])\d{3})(?:\1\d{3})*")
DECIMAL = re.compile(
    r"(\d+(?:\.\d*)?|\.\d+)(?:\s*(?:e|\\times\s*10\s*\^|[x×*·]\s*10\s*(?:\^|\*\*))\s*\{?([+-]?\d{1,3})\}?)?", re.IGNORECASE
)
LATEX_FRACTION = re.compile(r"\\[dtc]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")


def number(text: str) -> Fraction | None:
    """The exact number a text is; None for anything else, two numbers included."""
    if len(text) > MAX_DIGITS * 4:
        return None
    plain = unicodedata.normalize("NFKC", text.replace("⁄", "/").replace("∕", "/")).strip()
    plain = plain.replace("−", "-").replace("–", "-").replace("⁄", "/").replace("\\,", "").replace("\\!", "").replace("{,}", ",")
    plain = LATEX_FRACTION.sub(lambda m: f"({m[1] or m[2]})/({m[3] or m[4]})", plain)
    plain = re.sub(r"\\(?:left|right|displaystyle)\b", "", plain).strip()
    sign = 1
    if plain[:1] in "+-" and plain:
        sign = -1 if plain[0] == "-" else 1
        plain = plain[1:].strip()
    value = _fraction(plain)
    if value is None and plain.endswith("."):
        value = _fraction(plain[:-1])
    return None if value is None else sign * value


def _fraction(plain: str) -> Fraction | None:
    parts = re.split(r"\s*(?:/|÷|:|\bover\b)\s*", plain)
    if len(parts) == 1:
        return _decimal(_open(plain))
    if len(parts) != 2:
        return None
    mixed = re.fullmatch(r"(\d+)\s+(\d+)", parts[0])
    bottom = _signed(parts[1])
    if not bottom:
        return None
    if mixed:
        return int(mixed[1]) + Fraction(int(mixed[2])) / bottom
    top = _signed(parts[0])
    return None if top is None else top / bottom


def _signed(text: str) -> Fraction | None:
    text = _open(text.strip())
    if text[:1] == "-":
        value = _decimal(text[1:].strip())
        return None if value is None else -value
    return _decimal(text)


def _open(text: str) -> str:
    while len(text) > 1 and text[0] + text[-1] in ("()", "{}", "[]") and not set(text[1:-1]) & set("()[]{}"):
        text = text[1:-1].strip()
    return text


def _decimal(text: str) -> Fraction | None:
    whole, point, rest = text.partition(".")
    if GROUPED.fullmatch(whole):
        text = re.sub(r"\D", "", whole) + point + rest
    match = DECIMAL.fullmatch(text)
    if match is None or len(match[1]) > MAX_DIGITS:
        return None
    return Fraction(match[1]) * Fraction(10) ** int(match[2] or 0)
