"""The smallest number above a bound that leaves given remainders: put together by congruences, proven by trying each."""

from __future__ import annotations

import math
import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"remainder|congruen|chinese remainder|modul|number theory|余数|同余|数论"
DIAL = "the least common multiple of the row lengths: how many counts there are to choose from"

SIZES = {1: (2, 5, 9), 2: (2, 8, 15), 3: (3, 5, 11), 4: (3, 9, 17), 5: (4, 7, 17)}
"""Level → how many row lengths, from what to what."""


def draw(rng: random.Random, level: int) -> Problem:
    """Row lengths without a common factor, and a count that they leave remainders of."""
    count, low, high = SIZES[level]
    while True:
        rows = sorted(rng.sample(range(low, high + 1), count))
        period = math.prod(rows)
        if math.lcm(*rows) != period:
            continue
        above = rng.randrange(period // 4, period)
        seeds = above + rng.randrange(1, period + 1)
        rests = [seeds % row for row in rows]
        if all(rests) and len(set(rests)) > 1:
            return {"rows": rows, "rests": rests, "above": above}


def solve(problem: Problem) -> int:
    """The congruences joined one after the other, with inverses."""
    count, step = 0, 1
    for row, rest in zip(problem["rows"], problem["rests"], strict=True):
        count += step * ((rest - count) * pow(step, -1, row) % row)
        step *= row
    return int(count + step * max(0, -((count - problem["above"] - 1) // step)))


def verify(problem: Problem) -> int | None:
    """Each number above the bound, until one fits."""
    pairs = list(zip(problem["rows"], problem["rests"], strict=True))
    for count in range(problem["above"] + 1, problem["above"] + 1 + math.prod(problem["rows"])):
        if all(count % row == rest for row, rest in pairs):
            return count
    return None


def effort(problem: Problem) -> float:
    """The counts in one period."""
    return float(math.lcm(*problem["rows"]))


def slips(problem: Problem) -> list[Any]:
    """The bound forgotten; one period too far."""
    found, period = solve(problem), math.prod(problem["rows"])
    return [found % period, found + period, found + 1]


def say(problem: Problem, language: str) -> str:
    """A farmer lays out seedlings in rows."""
    pairs = list(zip(problem["rows"], problem["rests"], strict=True))
    if language == "zh":
        said = "，".join(f"每行种 {row} 棵则剩 {rest} 棵" for row, rest in pairs)
        return f"一位园丁有一批树苗，数量多于 {problem['above']} 棵。{said}。这批树苗最少有多少棵？"
    parts = ", ".join(f"in rows of {row} with {rest} left over" for row, rest in pairs)
    return (
        f"A gardener has more than {problem['above']} seedlings. They can be planted {parts}. "
        "What is the smallest number of seedlings that the gardener can have?"
    )
