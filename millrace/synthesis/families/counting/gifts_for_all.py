"""Ways to give away different gifts so that nobody goes without: by inclusion and exclusion, proven gift by gift."""

from __future__ import annotations

import math
import random
from typing import Any

from millrace.synthesis.families.contract import Problem
from millrace.synthesis.families.words import PEOPLE, listed, some

ANSWER_TYPE = "integer"
TOPIC = r"distribut|gift|surject|inclusion|分配|礼物|满射|容斥"
DIAL = "the gifts times the people"

SIZES = {1: (4, 6, 2), 2: (5, 7, 3), 3: (6, 9, 4), 4: (8, 11, 5), 5: (9, 13, 6)}
"""Level → the fewest and the most gifts, the people."""


def draw(rng: random.Random, level: int) -> Problem:
    """People, different gifts, and a largest number for each."""
    low, high, people = SIZES[level]
    gifts = rng.randint(low, high)
    most = rng.randint(max(2, -(-gifts // people)), gifts - people + 1)
    return {"who": some(rng, people), "gifts": gifts, "most": most, "told": rng.randrange(3)}


def solve(problem: Problem) -> int:
    """Products of truncated exponential series."""
    exact = [1]
    limit = problem["gifts"]
    for _ in problem["who"]:
        further = [0] * (limit + 1)
        for given, ways in enumerate(exact):
            for own in range(1, min(problem["most"], limit - given) + 1):
                further[given + own] += ways * math.comb(given + own, own)
        exact = further
    return exact[limit]


def verify(problem: Problem) -> int | None:
    """Gift by gift, by how many each has so far."""
    states: dict[tuple[int, ...], int] = {(0,) * len(problem["who"]): 1}
    for _ in range(problem["gifts"]):
        after: dict[tuple[int, ...], int] = {}
        for held, ways in states.items():
            for place, own in enumerate(held):
                if own < problem["most"]:
                    now = tuple(sorted([*held[:place], own + 1, *held[place + 1 :]]))
                    after[now] = after.get(now, 0) + ways
        states = after
    return sum(ways for held, ways in states.items() if held[0] > 0)


def effort(problem: Problem) -> float:
    """Gifts times people."""
    return float(problem["gifts"] * len(problem["who"]))


def slips(problem: Problem) -> list[Any]:
    """Somebody may go without; gifts taken as alike."""
    people, gifts = len(problem["who"]), problem["gifts"]
    return [people**gifts, math.comb(gifts - 1, people - 1)]


THINGS = {
    "en": ("different books", "different toys", "different postcards"),
    "zh": ("本不同的书", "件不同的玩具", "张不同的明信片"),
}


def say(problem: Problem, language: str) -> str:
    """Books, toys or cards."""
    names = listed([PEOPLE[language][who] for who in problem["who"]], language)
    thing = THINGS[language][problem["told"]]
    if language == "zh":
        return (
            f"把 {problem['gifts']} {thing}全部分给{names}，每人至少得 1 {thing[0]}，至多得 {problem['most']} {thing[0]}。"
            "只看每人得到哪些，共有多少种分法？"
        )
    return (
        f"{problem['gifts']} {thing} are all given to {names}. Each of them gets at least one and at most "
        f"{problem['most']}. In how many "
        "ways can this be done, if it matters who gets which?"
    )
