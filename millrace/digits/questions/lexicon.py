"""The verifier's own dictionary: what the words of a finished question mean.

It is written apart from the phrasings that the questions are made with, on purpose: a wrong word there has to be noticed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

ABSENT = "none"

WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "region": {
        "top left": ("top left", "upper left", "左上"),
        "top centre": ("top centre", "top center", "上方中间"),
        "top right": ("top right", "upper right", "右上"),
        "middle left": ("middle left", "centre left", "左侧中间"),
        "middle right": ("middle right", "centre right", "右侧中间"),
        "bottom left": ("bottom left", "lower left", "左下"),
        "bottom centre": ("bottom centre", "bottom center", "下方中间"),
        "bottom right": ("bottom right", "lower right", "右下"),
        "centre": ("centre", "center", "正中央"),
    },
    "direction": {
        "left of": ("left of", "to the left", "左边"),
        "right of": ("right of", "to the right", "右边"),
        "above": ("above", "上面"),
        "below": ("below", "under", "下面"),
        "in front of": ("in front of", "前面"),
        "behind": ("behind", "后面"),
    },
    "place": {
        "leftmost": ("leftmost", "最左边"),
        "rightmost": ("rightmost", "最右边"),
        "topmost": ("topmost", "最上面"),
        "bottommost": ("bottommost", "最下面"),
    },
    "area": {
        "top half": ("top half", "上半部分"),
        "bottom half": ("bottom half", "下半部分"),
        "left half": ("left half", "左半部分"),
        "right half": ("right half", "右半部分"),
        "top left": ("top left", "左上"),
        "top right": ("top right", "右上"),
        "bottom left": ("bottom left", "左下"),
        "bottom right": ("bottom right", "右下"),
    },
    "turn": {
        "turned counter-clockwise": ("turned counter-clockwise", "turned counterclockwise", "逆时针转了"),
        "turned clockwise": ("turned clockwise", "顺时针转了"),
        "upside down": ("upside down", "倒过来的"),
        "upright": ("upright", "正着的"),
    },
}
"""Aspect → value → how it may be said; within an aspect, phrases that contain others come first."""

_POINTS = {"up": "up", "right": "right", "down": "down", "left": "left", "上": "up", "右": "right", "下": "down", "左": "left"}

_NOTHING = ("there is no", "is not there", "every part has", "没有这样的", "一个数字也没有", "有一个不在", "每个部分都有")

COLOURS = {
    "red": ("red", "红色"),
    "blue": ("blue", "蓝色"),
    "green": ("green", "绿色"),
    "orange": ("orange", "橙色"),
    "purple": ("purple", "紫色"),
    "black": ("black", "黑色"),
}


def read_answer(aspect: str, text: str) -> str | None:
    """The value that an option or an answer means; None when it means none or might mean two."""
    said = text.strip().casefold().rstrip("。.")
    if any(phrase in said for phrase in _NOTHING):
        return ABSENT
    if aspect in ("label", "count"):
        return said if re.fullmatch(r"\d", said) else None
    return _value_in(aspect, said)


def read_statement(aspect: str, question: str) -> str | None:
    """The value that a yes/no question states; None when none or several can be found."""
    said = question.casefold()
    if aspect in ("label", "count"):
        chinese = re.search(r"[\u4e00-\u9fff]", said)
        numbers = re.findall(r"(?<=[是有])\d|^\d(?=是)" if chinese else r"(?<![\w.])\d(?![\w%])", said)
        return numbers[0] if len(set(numbers)) == 1 else None
    return _value_in(aspect, said)


def _value_in(aspect: str, said: str) -> str | None:
    if aspect == "percent":
        numbers = re.findall(r"\d+(?:\.\d+)?(?=%)", said)
        return f"{numbers[0]}%" if len(numbers) == 1 else None
    if aspect == "point":
        found = re.findall(r"\b(up|right|down|left)\b|(?:朝|指向|方向是)([上右下左])|^([上右下左])$", said)
        values = {_POINTS[word] for groups in found for word in groups if word}
        return values.pop() if len(values) == 1 else None
    found_values = []
    for value, phrases in WORDS[aspect].items():
        for phrase in phrases:
            pattern = rf"\b{re.escape(phrase)}\b" if phrase.isascii() else re.escape(phrase)
            said, count = re.subn(pattern, " ", said)
            found_values += [value] * bool(count)
    return found_values[0] if len(set(found_values)) == 1 else None


def names_subject(question: str, selectors: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the question names every colour and label that the subject has, and no other colour."""
    said = question.casefold()
    wanted = {str(selector["colour"]) for selector in selectors.values() if "colour" in selector}
    named = {colour for colour, (english, chinese) in COLOURS.items() if re.search(rf"\b{english}\b", said) or chinese in said}
    labels = {str(selector["label"]) for selector in selectors.values() if "label" in selector}
    return named == wanted and all(re.search(rf"(?<![\d.]){label}(?!\d|%|\.\d)", said) for label in labels)
