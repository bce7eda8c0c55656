"""The chance that a sum of dice has a property, given another: by generating functions, proven by listing every throw."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "fraction"
TOPIC = r"probab|chance|dice|die|condition|random|概率|几率|骰子|条件|随机"
DIAL = "the throws that are possible"

DICE = {1: (2, 6, 12), 2: (3, 6, 8), 3: (3, 9, 12), 4: (4, 6, 8), 5: (4, 9, 12)}
"""Level → dice, their sides from, to."""


def draw(rng: random.Random, level: int) -> Problem:
    """A remainder of the sum, and a largest number that is known to have been thrown."""
    dice, low, high = DICE[level]
    while True:
        sides, by = rng.randint(low, high), rng.randint(3, 10)
        problem = {"dice": dice, "sides": sides, "by": by, "rest": rng.randrange(by), "highest": rng.randint(3, sides)}
        if 0 < Fraction(solve(problem)) < 1:
            return problem


def _sums(dice: int, sides: int) -> dict[int, int]:
    counts = {0: 1}
    for _ in range(dice):
        further: dict[int, int] = {}
        for total, ways in counts.items():
            for side in range(1, sides + 1):
                further[total + side] = further.get(total + side, 0) + ways
        counts = further
    return counts


def solve(problem: Problem) -> str:
    """Throws with no number above the highest, less those with none as high, by sum."""
    dice, highest, by, rest = problem["dice"], problem["highest"], problem["by"], problem["rest"]
    counts = _sums(dice, highest)
    for total, ways in _sums(dice, highest - 1).items():
        counts[total] -= ways
    return str(Fraction(sum(ways for total, ways in counts.items() if total % by == rest), sum(counts.values())))


def verify(problem: Problem) -> str | None:
    """Every throw."""
    throws = itertools.product(range(1, problem["sides"] + 1), repeat=problem["dice"])
    known = [throw for throw in throws if max(throw) == problem["highest"]]
    return str(Fraction(sum(sum(throw) % problem["by"] == problem["rest"] for throw in known), len(known)))


def effort(problem: Problem) -> float:
    """The throws."""
    return float(problem["sides"] ** problem["dice"])


def slips(problem: Problem) -> list[Any]:
    """The condition forgotten; both taken together; the condition as 'at most'."""
    dice, sides, by, rest, highest = (problem[name] for name in ("dice", "sides", "by", "rest", "highest"))
    whole, below = _sums(dice, sides), _sums(dice, highest)
    good = Fraction(sum(ways for total, ways in whole.items() if total % by == rest), sides**dice)
    under = Fraction(sum(ways for total, ways in below.items() if total % by == rest), highest**dice)
    return [str(good), str(under), str(1 - Fraction(solve(problem)))]


def say(problem: Problem, language: str) -> str:
    """A throw of which something is told."""
    dice, sides, by, rest, highest = (problem[name] for name in ("dice", "sides", "by", "rest", "highest"))
    if language == "zh":
        return (
            f"同时掷 {dice} 枚均匀的 {sides} 面骰子（各面为 1 到 {sides}）。已知掷出的最大点数恰为 {highest}，"
            f"求点数之和{f'除以 {by} 余 {rest}' if rest else f'能被 {by} 整除'}的概率，用最简分数作答。"
        )
    return (
        f"{dice} fair {sides}-sided dice, numbered 1 to {sides}, are thrown. The highest number shown is exactly {highest}. "
        "Given this, what is the probability that the sum "
        f"{f'leaves the remainder {rest} when divided by {by}' if rest else f'is divisible by {by}'}? Give a fraction "
        "in lowest terms."
    )
