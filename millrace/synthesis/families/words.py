"""Names that several families use, in both languages: the same place in each list is the same person or thing."""

from __future__ import annotations

import random

PEOPLE = {
    "en": ("Ana", "Ben", "Chloe", "Dan", "Eva", "Finn", "Grace", "Hugo", "Iris", "Jon"),
    "zh": ("安娜", "本恩", "可儿", "丹尼", "伊娃", "芬恩", "格蕾", "雨果", "艾丽", "乔恩"),
}


def some(rng: random.Random, count: int) -> list[int]:
    """The places of `count` different people."""
    return rng.sample(range(len(PEOPLE["en"])), count)


def listed(parts: list[str], language: str) -> str:
    """`a, b and c`; `a、b和c`."""
    comma, last = ("、", "和") if language == "zh" else (", ", " and ")
    return parts[0] if len(parts) == 1 else comma.join(parts[:-1]) + last + parts[-1]
