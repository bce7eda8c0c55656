"""A far term of a recurrence, by a modulus: by powers of a matrix, proven by the cycle of the pairs."""

from __future__ import annotations

import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"sequence|recurrence|fibonacci|series|modul|数列|递推|斐波那契|余数"
DIAL = "the different pairs of neighbouring terms before they repeat"

MODULI = {1: (3, 7), 2: (8, 19), 3: (20, 39), 4: (40, 70), 5: (71, 120)}


def draw(rng: random.Random, level: int) -> Problem:
    """A recurrence of order two whose cycle is about as long as the modulus, or longer."""
    low, high = MODULI[level]
    while True:
        by = rng.randint(low, high)
        problem = {"by": by, "p": rng.randint(1, 6), "q": rng.choice([-3, -2, -1, 1, 2, 3, 4]), "a1": rng.randint(1, 9),
                   "a2": rng.randint(1, 9),
                   "n": rng.randint(1_000, 10**6 if level < 4 else 10**12)}  # fmt: skip
        if by <= effort(problem) <= 3 * by and solve(problem) > 1:
            return problem


def solve(problem: Problem) -> int:
    """The matrix of the recurrence to the power n - 1, by repeated squaring."""
    by = problem["by"]

    def times(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
        return (
            (a[0] * b[0] + a[1] * b[2]) % by, (a[0] * b[1] + a[1] * b[3]) % by,
            (a[2] * b[0] + a[3] * b[2]) % by, (a[2] * b[1] + a[3] * b[3]) % by,
        )  # fmt: skip

    result: tuple[int, ...] = (1, 0, 0, 1)
    step: tuple[int, ...] = (problem["p"], problem["q"], 1, 0)
    power = problem["n"] - 1
    while power:
        if power & 1:
            result = times(result, step)
        step, power = times(step, step), power >> 1
    return int((result[2] * problem["a2"] + result[3] * problem["a1"]) % by)


def _walk(problem: Problem) -> tuple[list[int], int]:
    """The terms' remainders until a pair comes again, and the place of that pair."""
    by = problem["by"]
    pair, seen, terms = (problem["a1"] % by, problem["a2"] % by), dict[tuple[int, int], int](), list[int]()
    while pair not in seen:
        seen[pair] = len(terms)
        terms.append(pair[0])
        pair = (pair[1], (problem["p"] * pair[1] + problem["q"] * pair[0]) % by)
    return terms, seen[pair]


def verify(problem: Problem) -> int | None:
    """The place of the term in the cycle."""
    terms, start = _walk(problem)
    place = problem["n"] - 1
    return terms[int(place if place < start else start + (place - start) % (len(terms) - start))]


def effort(problem: Problem) -> float:
    """The pairs."""
    return float(len(_walk(problem)[0]))


def slips(problem: Problem) -> list[Any]:
    """The terms counted from zero; one too few."""
    return [solve({**problem, "n": problem["n"] + 1}), solve({**problem, "n": problem["n"] - 1})]


def say(problem: Problem, language: str) -> str:
    """The recurrence as a formula."""
    p, q = problem["p"], problem["q"]
    rule = f"a(n) = {'' if p == 1 else p}a(n-1) {'-' if q < 0 else '+'} {'' if abs(q) == 1 else abs(q)}a(n-2)"
    if language == "zh":
        return (
            f"数列满足 a(1) = {problem['a1']}，a(2) = {problem['a2']}，且当 n ≥ 3 时 {rule}。求 a({problem['n']}) "
            f"除以 {problem['by']} 的余数（取 0 到 {problem['by'] - 1} 之间）。"
        )
    return (
        f"A sequence has a(1) = {problem['a1']}, a(2) = {problem['a2']} and {rule} for n ≥ 3. "
        f"What is the remainder of a({problem['n']}) on division by {problem['by']}, from 0 to {problem['by'] - 1}?"
    )
