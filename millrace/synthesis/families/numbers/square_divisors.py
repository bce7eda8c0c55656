"""Divisors of a factorial that are perfect squares: by Legendre's formula, proven by factoring each number up to n."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"divisor|factor|prime|square|number theory|因数|因子|约数|质数|素数|阶乘|数论"
DIAL = "the primes whose powers have to be found"

PRIMES = [number for number in range(2, 62) if all(number % factor for factor in range(2, math.isqrt(number) + 1))]
MULTIPLES = {
    number: max(prime for prime in (2, 3, 5, 7, 11, 13) if number % prime == 0)
    for number in range(2, 4_000)
    if 30_030**12 % number == 0
}
"""Numbers whose prime factors are at most 13 → the largest of these."""
RANGES = {1: (7, 10), 2: (11, 16), 3: (17, 22), 4: (23, 36), 5: (37, 60)}


def draw(rng: random.Random, level: int) -> Problem:
    """A factorial, and a number that the divisors must be a multiple of."""
    while True:
        n = rng.randint(*RANGES[level])
        problem = {"n": n, "multiple": rng.choice([number for number, largest in MULTIPLES.items() if largest <= n])}
        if 2 < solve(problem) < 10**9:
            return problem


def solve(problem: Problem) -> int:
    """For each prime, its even exponents from what the multiple needs to what the factorial has."""
    ways = 1
    for prime in PRIMES:
        has, power = 0, prime
        while power <= problem["n"]:
            has += problem["n"] // power
            power *= prime
        needs = next(k for k in range(13) if problem["multiple"] % prime ** (k + 1))
        ways *= max(0, has // 2 - (needs + 1) // 2 + 1)
    return ways


def _exponents(numbers: range | list[int]) -> Counter[int]:
    found: Counter[int] = Counter()
    for number in numbers:
        rest, factor = number, 2
        while rest > 1:
            while rest % factor == 0:
                found[factor] += 1
                rest //= factor
            factor += 1
    return found


def verify(problem: Problem) -> int | None:
    """The exponents listed and counted: those of the factorial from its factors, one after the other."""
    factorial, needed = _exponents(range(2, problem["n"] + 1)), _exponents([problem["multiple"]])
    if needed.keys() - factorial.keys():
        return 0
    return math.prod(sum(e % 2 == 0 and e >= needed[prime] for e in range(most + 1)) for prime, most in factorial.items())


def effort(problem: Problem) -> float:
    """The primes up to n."""
    return float(len(_exponents(range(2, problem["n"] + 1))))


def slips(problem: Problem) -> list[Any]:
    """The multiple forgotten; all divisors counted."""
    factorial = _exponents(range(2, problem["n"] + 1))
    return [math.prod(e // 2 + 1 for e in factorial.values()), math.prod(e + 1 for e in factorial.values()), solve(problem) - 1]


def say(problem: Problem, language: str) -> str:
    """The bare task."""
    if language == "zh":
        return f"{problem['n']}! 的正因数中，有多少个既是完全平方数又是 {problem['multiple']} 的倍数？"
    return f"How many positive divisors of {problem['n']}! are perfect squares and also multiples of {problem['multiple']}?"
