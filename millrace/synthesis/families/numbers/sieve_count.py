"""How many numbers of a range fit two or three conditions on their divisors: by inclusion and exclusion, proven by looking."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

from millrace.synthesis.families.contract import Problem
from millrace.synthesis.families.words import listed

ANSWER_TYPE = "integer"
TOPIC = r"divisib|multiple|inclusion|sieve|整除|倍数|容斥|筛"
DIAL = "the numbers that are looked at"

SIZES = {1: (80, 2), 2: (250, 2), 3: (800, 3), 4: (2500, 3), 5: (8000, 4)}
ASKS = ("none", "one", "some_not_all")


def draw(rng: random.Random, level: int) -> Problem:
    """A range, divisors, and how many of them must divide."""
    about, count = SIZES[level]
    while True:
        divisors = sorted(rng.sample(range(3, 25), count))
        if all(b % a for i, a in enumerate(divisors) for b in divisors[i + 1 :]):
            first = rng.randint(1, about // 2)
            return {
                "first": first,
                "last": first + about + rng.randint(0, about // 3),
                "divisors": divisors,
                "ask": rng.choice(ASKS),
            }


def solve(problem: Problem) -> int:
    """Over all sets of the divisors, with the weight that the question gives each."""
    divisors, total = problem["divisors"], 0
    count = len(divisors)
    for size in range(count + 1):
        for chosen in itertools.combinations(divisors, size):
            step = math.lcm(*chosen)
            here = problem["last"] // step - (problem["first"] - 1) // step
            none, one = (-1) ** size, (-1) ** (size - 1) * size if size else 0
            if problem["ask"] == "none":
                total += none * here
            elif problem["ask"] == "one":
                total += one * here
            else:
                total += ((size == 0) - none - (size == count)) * here
    return total


def verify(problem: Problem) -> int | None:
    """Each number."""
    wanted = {"none": {0}, "one": {1}, "some_not_all": set(range(1, len(problem["divisors"])))}[problem["ask"]]
    return sum(
        sum(number % divisor == 0 for divisor in problem["divisors"]) in wanted
        for number in range(problem["first"], problem["last"] + 1)
    )


def effort(problem: Problem) -> float:
    """The numbers."""
    return float(problem["last"] - problem["first"] + 1)


def slips(problem: Problem) -> list[Any]:
    """What two share counted twice; the first number left out."""
    return [
        sum(problem["last"] // d - (problem["first"] - 1) // d for d in problem["divisors"]),
        problem["last"] - problem["first"],
    ]


def say(problem: Problem, language: str) -> str:
    """Integers of a range."""
    divisors = listed([str(divisor) for divisor in problem["divisors"]], language)
    if language == "zh":
        what = {
            "none": f"不能被 {divisors} 中任何一个整除",
            "one": f"恰好能被 {divisors} 中的一个整除",
            "some_not_all": f"能被 {divisors} 中至少一个整除、但不能被全部整除",
        }[problem["ask"]]
        return f"从 {problem['first']} 到 {problem['last']}（含两端）的整数中，{what}的有多少个？"
    what = {
        "none": f"divisible by none of {divisors}",
        "one": f"divisible by exactly one of {divisors}",
        "some_not_all": f"divisible by at least one of {divisors}, but not by all of them",
    }[problem["ask"]]
    return f"How many of the integers from {problem['first']} to {problem['last']}, both included, are {what}?"
