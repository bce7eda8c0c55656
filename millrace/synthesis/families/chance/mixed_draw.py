"""The chance to draw marbles of every colour: by inclusion and exclusion, proven by following each draw."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction
from functools import cache
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "fraction"
TOPIC = r"probab|chance|urn|marble|draw|random|概率|几率|摸球|随机"
DIAL = "the different hands that can be drawn"

SIZES = {1: (2, 14, 3), 2: (3, 9, 4), 3: (3, 11, 5), 4: (4, 9, 6), 5: (4, 11, 8)}
"""Level → colours, most of one colour, marbles drawn at least."""
COLOURS = {"en": ("red", "blue", "green", "yellow"), "zh": ("红", "蓝", "绿", "黄")}


def draw(rng: random.Random, level: int) -> Problem:
    """A bag, and a number of marbles that may or may not show every colour."""
    colours, most, drawn = SIZES[level]
    while True:
        bag = [rng.randint(2, most) for _ in range(colours)]
        problem: Problem = {"bag": bag, "drawn": rng.randint(drawn, drawn + 1)}
        if problem["drawn"] < sum(bag) and 0 < Fraction(solve(problem)) < 1:
            return problem


def solve(problem: Problem) -> str:
    """All hands, less those without a colour, and so on."""
    bag, drawn = problem["bag"], problem["drawn"]
    good = 0
    for count in range(len(bag) + 1):
        for missing in itertools.combinations(bag, count):
            good += (-1) ** count * math.comb(sum(bag) - sum(missing), drawn)
    return str(Fraction(good, math.comb(sum(bag), drawn)))


def verify(problem: Problem) -> str | None:
    """One marble after the other, with what is left in the bag."""
    whole = tuple(problem["bag"])

    @cache
    def chance(left: tuple[int, ...], draws: int) -> Fraction:
        if not draws:
            return Fraction(all(now < first for now, first in zip(left, whole, strict=True)))
        total = Fraction(0)
        for colour, count in enumerate(left):
            if count:
                total += Fraction(count, sum(left)) * chance((*left[:colour], count - 1, *left[colour + 1 :]), draws - 1)
        return total

    return str(chance(whole, problem["drawn"]))


def effort(problem: Problem) -> float:
    """The hands."""
    return float(math.comb(sum(problem["bag"]), problem["drawn"]))


def slips(problem: Problem) -> list[Any]:
    """The opposite event; drawing with replacement."""
    right, bag = Fraction(solve(problem)), problem["bag"]
    with_replacement = Fraction(0)
    for count in range(len(bag) + 1):
        for missing in itertools.combinations(bag, count):
            with_replacement += (-1) ** count * Fraction(sum(bag) - sum(missing), sum(bag)) ** problem["drawn"]
    return [str(1 - right), str(with_replacement)]


def say(problem: Problem, language: str) -> str:
    """A bag of marbles."""
    parts = list(zip(problem["bag"], COLOURS[language], strict=False))
    if language == "zh":
        said = "、".join(f"{count} 个{colour}球" for count, colour in parts)
        return (
            f"袋中有{said}，除颜色外完全相同。不放回地随机摸出 {problem['drawn']} 个球，"
            "每种颜色都至少摸到一个的概率是多少？用最简分数作答。"
        )
    said = ", ".join(f"{count} {colour}" for count, colour in parts)
    return (
        f"A bag holds marbles: {said}. {problem['drawn']} of them are drawn at random without replacement. "
        "What is the probability that every colour is among them? Give a fraction in lowest terms."
    )
