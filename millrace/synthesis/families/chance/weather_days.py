"""Weather that depends on the day before: by repeated steps of a table, proven by adding up all sequences of days."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "fraction"
TOPIC = r"markov|weather|transition|马尔可夫|天气|转移"
DIAL = "the sequences of days"

SIZES = {1: (2, 2), 2: (2, 3), 3: (3, 3), 4: (3, 4), 5: (3, 6)}
"""Level → kinds of weather, days ahead."""


def draw(rng: random.Random, level: int) -> Problem:
    """Tenths of chance from each weather to each."""
    kinds, days = SIZES[level]
    rows = []
    for _ in range(kinds):
        cuts = sorted(rng.sample(range(1, 10), kinds - 1))
        rows.append([b - a for a, b in itertools.pairwise([0, *cuts, 10])])
    first, last = rng.randrange(kinds), rng.randrange(kinds)
    return {
        "tenths": rows,
        "days": days,
        "first": first,
        "last": last,
        "never": (3 - first - last) if kinds == 3 and first != last and rng.random() < 0.3 else None,
    }


def solve(problem: Problem) -> str:
    """The chances of each weather, day after day; weather that must not come is struck out on the days between."""
    chances = [Fraction(int(kind == problem["first"])) for kind in range(len(problem["tenths"]))]
    for _ in range(problem["days"]):
        chances = [
            sum((chance * Fraction(row[kind], 10) for chance, row in zip(chances, problem["tenths"], strict=True)), Fraction(0))
            for kind in range(len(chances))
        ]
        if problem["never"] is not None:
            chances[problem["never"]] = Fraction(0)
    return str(chances[problem["last"]])


def verify(problem: Problem) -> str | None:
    """Each sequence."""
    total = 0
    for between in itertools.product(range(len(problem["tenths"])), repeat=problem["days"] - 1):
        if problem["never"] in between:
            continue
        parts = 1
        for a, b in itertools.pairwise([problem["first"], *between, problem["last"]]):
            parts *= problem["tenths"][a][b]
        total += parts
    return str(Fraction(total, 10 ** problem["days"]))


def effort(problem: Problem) -> float:
    """The sequences."""
    return float(len(problem["tenths"]) ** problem["days"])


def slips(problem: Problem) -> list[Any]:
    """One day ahead; the steps of one sequence alone."""
    row = problem["tenths"][problem["first"]]
    return [str(Fraction(row[problem["last"]], 10)), str(Fraction(row[problem["last"]], 10) ** problem["days"])]


SKIES = {"en": ("sunny", "rainy", "foggy"), "zh": ("晴", "雨", "雾")}


def say(problem: Problem, language: str) -> str:
    """Sun, rain and fog."""
    skies, days = SKIES[language], problem["days"]
    first, last = skies[problem["first"]], skies[problem["last"]]
    if language == "zh":
        rows = "；".join(
            f"{skies[a]}天之后的一天，" + "，".join(f"{skies[b]}的概率为 {tenths}/10" for b, tenths in enumerate(row))
            for a, row in enumerate(problem["tenths"])
        )
        never = f"，且其间没有一天是{skies[problem['never']]}天" if problem["never"] is not None else ""
        return (
            f"某地每天的天气只取决于前一天。{rows}。今天是{first}天。{days} 天后是{last}天{never}的概率是多少？请用最简分数作答。"
        )
    rows = " ".join(
        f"After a {skies[a]} day, the next is "
        + ", ".join(f"{skies[b]} with probability {tenths}/10" for b, tenths in enumerate(row))
        + "."
        for a, row in enumerate(problem["tenths"])
    )
    never = f", with no {skies[problem['never']]} day in between" if problem["never"] is not None else ""
    return (
        f"The weather of a day depends only on the day before. {rows} Today is {first}. What is the "
        f"probability that the day {days} days from now "
        f"is {last}{never}? Answer with a fraction in lowest terms."
    )
