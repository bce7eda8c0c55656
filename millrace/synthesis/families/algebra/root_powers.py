"""A symmetric sum over the roots of a polynomial: by Newton's identities, proven by the trace of its companion matrix."""

from __future__ import annotations

import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"root|polynomial|vieta|quadratic|cubic|equation|algebra|根|多项式|韦达|方程|代数"
DIAL = "the degree times the power: coefficients and powers that have to be combined"

SIZES = {1: (2, 3), 2: (3, 3), 3: (3, 4), 4: (4, 4), 5: (4, 6)}


def draw(rng: random.Random, level: int) -> Problem:
    """A monic polynomial with small coefficients, none of them 0."""
    degree, least = SIZES[level]
    while True:
        power = least + (rng.random() < 0.5) * (level in (1, 4, 5))
        problem = {
            "coefficients": [rng.choice((-1, 1)) * rng.randint(1, 12 if level < 3 else 6) for _ in range(degree)],
            "power": power,
        }
        if abs(solve(problem)) > 2:
            return problem


def solve(problem: Problem) -> int:
    """p_k = e1·p_(k-1) - e2·p_(k-2) + …, with the elementary sums read off the coefficients."""
    coefficients, power = problem["coefficients"], problem["power"]
    sums: list[int] = []
    for k in range(1, power + 1):
        total = -k * coefficients[k - 1] if k <= len(coefficients) else 0
        for place in range(1, min(k - 1, len(coefficients)) + 1):
            total -= coefficients[place - 1] * sums[k - place - 1]
        sums.append(total)
    return sums[-1]


def verify(problem: Problem) -> int | None:
    """The matrix whose eigenvalues are the roots, multiplied with itself."""
    coefficients = problem["coefficients"]
    size = len(coefficients)
    matrix = [[int(row == column + 1) for column in range(size)] for row in range(size)]
    for row in range(size):
        matrix[row][size - 1] = -coefficients[size - 1 - row]
    product = [[int(row == column) for column in range(size)] for row in range(size)]
    for _ in range(problem["power"]):
        columns = list(zip(*matrix, strict=True))
        product = [[sum(a * b for a, b in zip(row, column, strict=True)) for column in columns] for row in product]
    return sum(product[place][place] for place in range(size))


def effort(problem: Problem) -> float:
    """Degree times power."""
    return float(len(problem["coefficients"]) * problem["power"])


def slips(problem: Problem) -> list[Any]:
    """The sign of the sum of the roots turned; one power too few."""
    flipped = [-value if place % 2 == 0 else value for place, value in enumerate(problem["coefficients"])]
    return [solve({**problem, "coefficients": flipped}), solve({**problem, "power": problem["power"] - 1}), -solve(problem)]


def _polynomial(coefficients: list[int]) -> str:
    parts = [f"x^{len(coefficients)}"]
    for place, value in enumerate(coefficients):
        left = len(coefficients) - place - 1
        size = "" if abs(value) == 1 and left else str(abs(value))
        variable = "" if not left else "x" if left == 1 else f"x^{left}"
        parts.append(f"{'-' if value < 0 else '+'} {size}{variable}")
    return " ".join(parts)


def say(problem: Problem, language: str) -> str:
    """The roots by letters."""
    letters = "rstu"[: len(problem["coefficients"])]
    total = " + ".join(f"{letter}^{problem['power']}" for letter in letters)
    polynomial = _polynomial(problem["coefficients"])
    if language == "zh":
        return f"设 {'、'.join(letters)} 为 {polynomial} = 0 的全部复数根（重根按重数计）。求 {total} 的值。"
    named = f"{', '.join(letters[:-1])} and {letters[-1]}"
    return f"Let {named} be the complex roots of {polynomial} = 0, counted with multiplicity. Find the value of {total}."
