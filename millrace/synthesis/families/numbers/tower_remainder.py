"""The remainder of a tower of powers: by Euler's theorem in the general form, proven by walking the powers until they repeat."""

from __future__ import annotations

import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"power|exponent|euler|totient|modul|number theory|last digit|幂|指数|欧拉|数论|末位"
DIAL = "the number of different remainders that the powers run through before they repeat"

MODULI = {1: (7, 19), 2: (23, 60), 3: (70, 160), 4: (200, 420), 5: (500, 999)}


def draw(rng: random.Random, level: int) -> Problem:
    """A tower whose remainder is not 0 or 1, and a cycle that is not short for its modulus."""
    while True:
        low, high = MODULI[level]
        problem = {
            "base": rng.randrange(2, 40),
            "power": rng.randrange(3, 30),
            "top": rng.randrange(5, 60),
            "by": rng.randrange(low, high),
        }
        if problem["base"] % problem["by"] > 1 and effort(problem) * 6 >= problem["by"] and solve(problem) > 1:
            return problem


def _totient(number: int) -> int:
    result, rest, factor = number, number, 2
    while factor * factor <= rest:
        if rest % factor == 0:
            result -= result // factor
            while rest % factor == 0:
                rest //= factor
        factor += 1
    return result - result // rest if rest > 1 else result


def solve(problem: Problem) -> int:
    """b^e and b^(e mod φ + φ) have the same remainder, for every b, once e is at least φ."""
    totient = _totient(problem["by"])
    power, top = problem["power"], problem["top"]
    small = power**top if top * power.bit_length() < 24 else None
    reduced = pow(power, top, totient) + totient
    return int(pow(problem["base"], small if small is not None and small < totient else reduced, problem["by"]))


def _walk(problem: Problem) -> tuple[list[int], int]:
    """The remainders of base^1, base^2, …, each once, and the place from which they repeat."""
    seen: dict[int, int] = {}
    remainder = problem["base"] % problem["by"]
    while remainder not in seen:
        seen[remainder] = len(seen)
        remainder = remainder * problem["base"] % problem["by"]
    return list(seen), seen[remainder]


def verify(problem: Problem) -> int | None:
    """The place of the exponent in the cycle, with the exponent written out in full."""
    remainders, start = _walk(problem)
    place = problem["power"] ** problem["top"] - 1
    if place >= start:
        place = start + (place - start) % (len(remainders) - start)
    return remainders[int(place)]


def effort(problem: Problem) -> float:
    """The different remainders."""
    return float(len(_walk(problem)[0]))


def slips(problem: Problem) -> list[Any]:
    """The tower read from below; the exponent taken by the modulus."""
    base, power, top, by = (problem[name] for name in ("base", "power", "top", "by"))
    return [pow(base, power * top, by), pow(base, pow(power, top, by), by), pow(base, power, by)]


def say(problem: Problem, language: str) -> str:
    """The bare task, with the order of the powers said."""
    tower = f"{problem['base']}^({problem['power']}^{problem['top']})"
    if language == "zh":
        return f"求 {tower} 除以 {problem['by']} 的余数。"
    return f"What is the remainder when {tower} is divided by {problem['by']}?"
