"""Ways to pay an amount exactly: by a table over amounts, proven by choosing the number of each coin in turn."""

from __future__ import annotations

import random
from typing import Any

from millrace.synthesis.families.contract import Problem
from millrace.synthesis.families.words import listed

ANSWER_TYPE = "integer"
TOPIC = r"coin|change|pay exactly|partition|硬币|找零|凑|分拆"
DIAL = "the amount times the kinds of coin"

SIZES = {1: (2, 30), 2: (3, 40), 3: (3, 80), 4: (4, 90), 5: (5, 110)}
"""Level → kinds, the amount about."""


def draw(rng: random.Random, level: int) -> Problem:
    """Coins of a made-up currency, and an amount that can be paid in more than two ways."""
    kinds, about = SIZES[level]
    while True:
        coins = sorted(rng.sample(range(2, 16), kinds))
        problem = {"coins": coins, "amount": rng.randint(about - 9, about + 9), "told": rng.randrange(2)}
        if solve(problem) > 2:
            return problem


def solve(problem: Problem) -> int:
    """Coin by coin, for all amounts at once."""
    ways = [1] + [0] * problem["amount"]
    for coin in problem["coins"]:
        for amount in range(coin, problem["amount"] + 1):
            ways[amount] += ways[amount - coin]
    return ways[-1]


def verify(problem: Problem) -> int | None:
    """How many of the largest coin, then of the next."""

    def left(amount: int, coins: list[int]) -> int:
        if len(coins) == 1:
            return amount % coins[0] == 0
        return sum(left(amount - taken, coins[:-1]) for taken in range(0, amount + 1, coins[-1]))

    return left(problem["amount"], problem["coins"])


def effort(problem: Problem) -> float:
    """Amount times kinds."""
    return float(problem["amount"] * len(problem["coins"]))


def slips(problem: Problem) -> list[Any]:
    """Orders counted; the smallest coin forgotten."""
    orders = [1]
    for amount in range(1, problem["amount"] + 1):
        orders.append(sum(orders[amount - coin] for coin in problem["coins"] if coin <= amount))
    return [orders[-1], solve({**problem, "coins": problem["coins"][1:]})]


def say(problem: Problem, language: str) -> str:
    """In a shop, or with stamps."""
    coins = listed([str(coin) for coin in problem["coins"]], language)
    if language == "zh":
        thing = ("硬币", "邮票")[problem["told"]]
        return (
            f"某地只有面值为 {coins} 的{thing}，每种都足够多。用这些{thing}恰好凑成 {problem['amount']}，"
            "不计先后次序，共有多少种凑法？"
        )
    if problem["told"]:
        return (
            f"A post office sells stamps worth {coins} cents and no others. Postage of exactly "
            f"{problem['amount']} cents is needed. "
            "In how many ways can it be made up, if only the number of stamps of each kind matters?"
        )
    return (
        f"A country has coins worth {coins} and no others, as many as one likes. In how many ways can exactly "
        f"{problem['amount']} "
        "be paid, if the order of the coins does not matter?"
    )
