"""What the words of a finished question mean: the part of the verifiers' own dictionary that all of them share.

It is written apart from the wordings that the questions are made with, on purpose: a wrong word there has to be noticed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from millrace.records.outcome import Selector

ABSENT = "none"

Phrases = Mapping[str, tuple[str, ...]]
"""Value → how it may be said; phrases that contain others come first."""

_NOTHING = ("there is no", "is not there", "every part has", "没有这样的", "一个数字也没有", "有一个不在", "每个部分都有")

COLOURS = {
    "red": ("red", "红色"),
    "blue": ("blue", "蓝色"),
    "green": ("green", "绿色"),
    "orange": ("orange", "橙色"),
    "purple": ("purple", "紫色"),
    "black": ("black", "黑色"),
}


def says_nothing_is_there(said: str) -> bool:
    """Whether an answer is that the subject is not there."""
    return any(phrase in said for phrase in _NOTHING)


def one_of(said: str, phrases: Phrases) -> str | None:
    """The only value that is said."""
    found = []
    for value, spellings in phrases.items():
        for phrase in spellings:
            pattern = rf"\b{re.escape(phrase)}\b" if phrase.isascii() else re.escape(phrase)
            said, count = re.subn(pattern, " ", said)
            found += [value] * bool(count)
    return found[0] if len(set(found)) == 1 else None


def one_digit(said: str) -> str | None:
    """An answer that is a single digit."""
    return said if re.fullmatch(r"\d", said) else None


def stated_digit(said: str) -> str | None:
    """The only digit that a question states, besides those that name a subject."""
    chinese = re.search(r"[\u4e00-\u9fff]", said)
    numbers = re.findall(r"(?<=[是有])\d|^\d(?=是)" if chinese else r"(?<![\w.])\d(?![\w%])", said)
    return numbers[0] if len(set(numbers)) == 1 else None


def names_subject(question: str, selectors: Mapping[str, Selector]) -> bool:
    """Whether the question names every colour and label that the subject has, and no other colour."""
    said = question.casefold()
    wanted = {str(selector["colour"]) for selector in selectors.values() if "colour" in selector}
    named = {colour for colour, (english, chinese) in COLOURS.items() if re.search(rf"\b{english}\b", said) or chinese in said}
    labels = {str(selector["label"]) for selector in selectors.values() if "label" in selector}
    return named == wanted and all(re.search(rf"(?<![\d.]){label}(?!\d|%|\.\d)", said) for label in labels)
