"""Prices of several kinds of ticket from what whole groups paid: by elimination, proven by trying all prices."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction
from typing import Any

from millrace.synthesis.families.contract import Problem
from millrace.synthesis.families.words import listed

ANSWER_TYPE = "integer"
TOPIC = r"linear system|simultaneous|equations with several|ticket|方程组|票价|联立"
DIAL = "the combinations of prices that there are"

SIZES = {1: (2, 12), 2: (2, 25), 3: (3, 15), 4: (3, 28), 5: (4, 19)}
"""Level → kinds of ticket, the highest price."""
KINDS = {
    "en": (("adult", "child", "student", "senior"), ("cinema", "concert", "museum", "circus")),
    "zh": (("成人票", "儿童票", "学生票", "老人票"), ("电影票", "音乐会票", "博物馆票", "马戏票")),
}


def draw(rng: random.Random, level: int) -> Problem:
    """Groups whose payments leave one possibility."""
    kinds, highest = SIZES[level]
    while True:
        prices = [rng.randint(3, highest) for _ in range(kinds)]
        groups = [[rng.randint(0, 6) for _ in range(kinds)] for _ in range(kinds)]
        paid = [sum(n * price for n, price in zip(group, prices, strict=True)) for group in groups]
        problem = {
            "groups": groups,
            "paid": paid,
            "highest": highest,
            "asked": [rng.randint(1, 3) for _ in range(kinds)],
            "told": rng.randrange(2),
        }
        if all(sum(n > 0 for n in group) > 1 for group in groups) and _prices(problem) == [Fraction(price) for price in prices]:
            return problem


def _prices(problem: Problem) -> list[Fraction] | None:
    rows = [[Fraction(n) for n in (*group, paid)] for group, paid in zip(problem["groups"], problem["paid"], strict=True)]
    for column in range(len(rows)):
        pivot = next((row for row in range(column, len(rows)) if rows[row][column]), None)
        if pivot is None:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for row in range(len(rows)):
            if row != column:
                factor = rows[row][column]
                rows[row] = [mine - factor * other for mine, other in zip(rows[row], rows[column], strict=True)]
    return [row[-1] for row in rows]


def solve(problem: Problem) -> int | None:
    """Gauss and Jordan, with fractions."""
    prices = _prices(problem)
    return None if prices is None else int(sum(n * price for n, price in zip(problem["asked"], prices, strict=True)))


def verify(problem: Problem) -> int | None:
    """Every price up to the highest; the last one follows from the first group that has such a ticket."""
    found = []
    kinds = len(problem["asked"])
    last = next(place for place, group in enumerate(problem["groups"]) if group[-1])
    for first in itertools.product(range(1, problem["highest"] + 1), repeat=kinds - 1):
        group = problem["groups"][last]
        rest = problem["paid"][last] - sum(n * price for n, price in zip(group, first, strict=False))
        if rest <= 0 or rest % group[-1]:
            continue
        prices = (*first, rest // group[-1])
        if all(
            sum(n * price for n, price in zip(row, prices, strict=True)) == paid
            for row, paid in zip(problem["groups"], problem["paid"], strict=True)
        ):
            found.append(prices)
    return sum(n * price for n, price in zip(problem["asked"], found[0], strict=True)) if len(found) == 1 else None


def effort(problem: Problem) -> float:
    """The combinations."""
    return float(problem["highest"] ** len(problem["asked"]))


def slips(problem: Problem) -> list[Any]:
    """One kind forgotten; the payments added."""
    prices = _prices(problem) or []
    return [int(sum(n * price for n, price in zip(problem["asked"][1:], prices[1:], strict=True))), sum(problem["paid"])]


def say(problem: Problem, language: str) -> str:
    """At a box office."""
    kinds = KINDS[language][problem["told"]]

    def tickets(counts: list[int]) -> str:
        if language == "zh":
            return listed([f"{n} 张{kind}" for n, kind in zip(counts, kinds, strict=False) if n], language)
        return listed([f"{n} {kind} ticket{'s' * (n > 1)}" for n, kind in zip(counts, kinds, strict=False) if n], language)

    pairs = list(zip(problem["groups"], problem["paid"], strict=True))
    if language == "zh":
        paid = "；".join(f"{tickets(group)}共 {sum_} 元" for group, sum_ in pairs)
        return f"每种票的价格都是整数元，同种票同价。已知{paid}。那么{tickets(problem['asked'])}一共多少元？"
    paid = ". ".join(f"One group paid {sum_} euros for {tickets(group)}" for group, sum_ in pairs)
    return f"Tickets of one kind all cost the same. {paid}. How many euros do {tickets(problem['asked'])} cost together?"
