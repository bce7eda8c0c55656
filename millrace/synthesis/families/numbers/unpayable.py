"""The largest number that cannot be made up of given ones: by shortest ways over remainders, proven by a table of amounts."""

from __future__ import annotations

import heapq
import math
import random
from typing import Any

from millrace.synthesis.families.contract import Problem
from millrace.synthesis.families.words import listed

ANSWER_TYPE = "integer"
TOPIC = r"frobenius|cannot be (?:made|paid)|largest number that|不能表示|凑不出|最大的数"
DIAL = "the largest number itself"

SIZES = {1: (4, 20, 3), 2: (6, 40, 3), 3: (12, 60, 3), 4: (15, 90, 3), 5: (25, 120, 3)}
"""Level → the smallest and largest box, how many kinds."""
BOUNDS = {1: (5, 40), 2: (41, 110), 3: (111, 260), 4: (261, 700), 5: (701, 2500)}
"""Level → between which numbers the answer lies."""


def draw(rng: random.Random, level: int) -> Problem:
    """Sizes without a common divisor."""
    low, high, kinds = SIZES[level]
    while True:
        sizes = sorted(rng.sample(range(low, high + 1), kinds + (kinds == 2 and rng.random() < 0.3)))
        if math.gcd(*sizes) == 1 and all(b % a for i, a in enumerate(sizes) for b in sizes[i + 1 :]):
            problem = {"sizes": sizes, "told": rng.randrange(2)}
            if BOUNDS[level][0] <= solve(problem) <= BOUNDS[level][1]:
                return problem


def solve(problem: Problem) -> int:
    """The least number that can be made for each remainder by the smallest size; the largest of these, less that size."""
    first, *others = problem["sizes"]
    least = {0: 0}
    waiting = [(0, 0)]
    while waiting:
        made, rest = heapq.heappop(waiting)
        if made > least[rest]:
            continue
        for size in others:
            further = (made + size) % first
            if made + size < least.get(further, made + size + 1):
                least[further] = made + size
                heapq.heappush(waiting, (made + size, further))
    return int(max(least.values()) - first)


def verify(problem: Problem) -> int | None:
    """Number after number, until as many in a row can be made as the smallest size says."""
    sizes = problem["sizes"]
    made, run, last, number = [True], 1, None, 0
    while run < sizes[0]:
        number += 1
        made.append(any(number >= size and made[number - size] for size in sizes))
        run = run + 1 if made[-1] else 0
        last = last if made[-1] else number
    return last


def effort(problem: Problem) -> float:
    """The answer."""
    return float(solve(problem))


def slips(problem: Problem) -> list[Any]:
    """The product less one; the formula for two sizes without its last part."""
    a, b = problem["sizes"][:2]
    return [a * b - 1, a * b, a * b - a]


def say(problem: Problem, language: str) -> str:
    """Boxes of eggs, or points of a game."""
    sizes = listed([str(size) for size in problem["sizes"]], language)
    if language == "zh":
        if problem["told"]:
            return (
                f"某种游戏每次得分只能是 {sizes.replace('和', ' 或 ')} 分，可以得分任意多次。不可能得到的总分中，最大的是多少？"
            )
        return f"鸡蛋只按每盒 {sizes.replace('和', ' 或 ')} 个出售，不拆盒。不能恰好买到的鸡蛋个数中，最大的是多少？"
    if problem["told"]:
        return (
            f"In a game one scores {sizes.replace(' and ', ' or ')} points at a time, as often as "
            "one likes. What is the largest total that is impossible?"
        )
    return f"Eggs are sold only in full boxes of {sizes}. What is the largest number of eggs that cannot be bought exactly?"
