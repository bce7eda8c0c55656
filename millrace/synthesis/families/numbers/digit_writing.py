"""How often a digit is written in a range of numbers: by counting place by place, proven by writing them all."""

from __future__ import annotations

import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"digit|page number|written down|数字出现|页码|数码"
DIAL = "the numbers that are written"

SIZES = {1: (60, 200), 2: (300, 700), 3: (1200, 2600), 4: (5000, 9000), 5: (20_000, 40_000)}


def draw(rng: random.Random, level: int) -> Problem:
    """A range, a digit, and a step in the upper levels."""
    low, high = SIZES[level]
    first = rng.randint(1, low)
    return {
        "first": first,
        "last": first + rng.randint(low, high),
        "digit": rng.randrange(10),
        "told": rng.randrange(2) if level < 4 else 1,
    }


def solve(problem: Problem) -> int:
    """Whole rounds of ten at each place, and the rest."""

    def up_to(last: int) -> int:
        total, place, digit = 0, 1, problem["digit"]
        while place <= last:
            above, here, below = last // (place * 10), last // place % 10, last % place
            total += (above - (digit == 0)) * place
            total += place if here > digit else (below + 1 if here == digit else 0)
            place *= 10
        return total

    return up_to(problem["last"]) - up_to(problem["first"] - 1)


def verify(problem: Problem) -> int | None:
    """All of them written."""
    return "".join(map(str, range(problem["first"], problem["last"] + 1))).count(str(problem["digit"]))


def effort(problem: Problem) -> float:
    """The numbers."""
    return float(problem["last"] - problem["first"] + 1)


def slips(problem: Problem) -> list[Any]:
    """The numbers that have the digit; the last one left out."""
    digit = str(problem["digit"])
    numbers = sum(digit in str(number) for number in range(problem["first"], problem["last"] + 1))
    return [numbers, (problem["last"] - problem["first"] + 1) // 10]


def say(problem: Problem, language: str) -> str:
    """Page numbers, or numbers in a row."""
    first, last, digit = problem["first"], problem["last"], problem["digit"]
    if language == "zh":
        if problem["told"]:
            return f"依次写出从 {first} 到 {last} 的所有整数（含两端），数字 {digit} 一共写了多少次？"
        return f"一本书从第 {first} 页到第 {last} 页的每一页都印有页码。这些页码中数字 {digit} 一共出现多少次？"
    if problem["told"]:
        return (
            f"All integers from {first} to {last}, both included, are written down. How many times is the digit {digit} written?"
        )
    return (
        f"Every page of a book from page {first} to page {last} bears its number. How many times does the digit "
        f"{digit} appear in these page numbers?"
    )
