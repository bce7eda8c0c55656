"""Zeros at the end of a product of many numbers, in some base: by counting prime factors, proven by writing the number."""

from __future__ import annotations

import math
import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"factorial|trailing zero|base|阶乘|末尾|进制"
DIAL = "the last factor"

SIZES = {1: (15, 40), 2: (41, 90), 3: (91, 220), 4: (221, 450), 5: (451, 900)}


def draw(rng: random.Random, level: int) -> Problem:
    """A product of consecutive numbers, and a base with at least two prime factors, counted."""
    low, high = SIZES[level]
    base = rng.choice([6, 10, 12] if level < 3 else [6, 12, 14, 15, 18, 20, 24, 36, 45])
    last = rng.randint(low, high)
    return {"first": 1 if level < 3 else rng.randint(2, last // 3), "last": last, "base": base}


def solve(problem: Problem) -> int:
    """Legendre's formula for each prime of the base."""
    base, found, prime = problem["base"], [], 2
    while base > 1:
        power = 0
        while base % prime == 0:
            base, power = base // prime, power + 1
        if power:
            times, step = 0, prime
            while step <= problem["last"]:
                times += problem["last"] // step - (problem["first"] - 1) // step
                step *= prime
            found.append(times // power)
        prime += 1
    return min(found)


def verify(problem: Problem) -> int | None:
    """The product, divided by the base as long as it goes."""
    product, zeros = math.prod(range(problem["first"], problem["last"] + 1)), 0
    while product % problem["base"] == 0:
        product, zeros = product // problem["base"], zeros + 1
    return zeros


def effort(problem: Problem) -> float:
    """The last factor."""
    return float(problem["last"])


def slips(problem: Problem) -> list[Any]:
    """Multiples of the base counted; the largest prime counted once per multiple."""
    largest = max(p for p in range(2, problem["base"] + 1) if problem["base"] % p == 0 and all(p % q for q in range(2, p)))
    return [problem["last"] // problem["base"], problem["last"] // largest - (problem["first"] - 1) // largest]


def say(problem: Problem, language: str) -> str:
    """A factorial, or a product that begins later."""
    first, last, base = problem["first"], problem["last"], problem["base"]
    if language == "zh":
        product = f" {last}! " if first == 1 else f"从 {first} 到 {last} 的所有整数的乘积"
        return f"把{product}写成{'十' if base == 10 else f' {base} '}进制，末尾有多少个连续的 0？"
    product = f"{last}!" if first == 1 else f"the product of all integers from {first} to {last}"
    return f"When {product} is written in base {base}, with how many zeros does it end?"
