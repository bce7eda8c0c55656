"""Ages from what was, is and will be: by equations, proven by trying all ages."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction
from typing import Any

from millrace.synthesis.families.contract import Problem
from millrace.synthesis.families.words import PEOPLE, some

ANSWER_TYPE = "integer"
TOPIC = r"\bages?\b|years old|年龄|岁数"
DIAL = "the people, and how far the sentences lie from today"

SIZES = {1: (2, 4), 2: (2, 12), 3: (3, 10), 4: (3, 20), 5: (4, 25)}
"""Level → people, how many years back or ahead at most."""
OLDEST = 80


def draw(rng: random.Random, level: int) -> Problem:
    """Ages; for each but the first a sentence that ties it to the one before, and one about all."""
    people, years = SIZES[level]
    while True:
        ages, ties = [rng.randint(3, 14)], []
        for _ in range(people - 1):
            fitting = [
                (age, times, shift)
                for shift in range(-years, years + 1)
                if abs(shift) >= max(1, years // 3)
                for times in range(2, 7)
                for age in [(ages[-1] + shift) * times - shift]
                if 5 < age < OLDEST and age not in ages and ages[-1] + shift > 1
            ]
            if not fitting:
                break
            age, times, shift = rng.choice(fitting)
            ages.append(age)
            ties.append([times, shift])
        if len(ties) == people - 1:
            ages, ties = ages[::-1], ties[::-1]
            problem: Problem = {"who": some(rng, people), "ties": ties, "sum": sum(ages), "asked": rng.randrange(people)}
            if solve(problem) == ages[problem["asked"]]:
                return problem


def solve(problem: Problem) -> int:
    """Each age as a multiple of the last one and a number; the sum gives the last one."""
    slopes, offsets = [Fraction(1)], [Fraction(0)]
    for times, shift in reversed(problem["ties"]):
        slopes.insert(0, slopes[0] * times)
        offsets.insert(0, offsets[0] * times + shift * times - shift)
    last = (problem["sum"] - sum(offsets)) / sum(slopes)
    age = slopes[problem["asked"]] * last + offsets[problem["asked"]]
    return int(age) if age.denominator == 1 else -1


def verify(problem: Problem) -> int | None:
    """Every age of the last one; the others follow, and the sum must fit."""
    found = []
    for last in range(1, 121):
        ages = [last]
        for times, shift in reversed(problem["ties"]):
            ages.append((ages[-1] + shift) * times - shift)
        if sum(ages) == problem["sum"] and min(ages) > 0:
            found.append(ages[::-1][problem["asked"]])
    return found[0] if len(found) == 1 else None


def effort(problem: Problem) -> float:
    """People, and the years of all sentences."""
    return float(20 * len(problem["who"]) + sum(abs(shift) for _, shift in problem["ties"]))


def slips(problem: Problem) -> list[Any]:
    """The years forgotten on one side."""
    plain = solve({**problem, "ties": [[times, 0] for times, _ in problem["ties"]]})
    return [problem["sum"] // len(problem["who"]), plain if plain > 0 else problem["sum"]]


def say(problem: Problem, language: str) -> str:
    """People of a family."""
    names = [PEOPLE[language][who] for who in problem["who"]]
    asked = names[problem["asked"]]
    said = []
    for (older, younger), (times, shift) in zip(itertools.pairwise(names), problem["ties"], strict=True):
        if language == "zh":
            when = f"{-shift} 年前" if shift < 0 else f"{shift} 年后"
            said.append(f"{when}，{older}的年龄{'是' if shift < 0 else '将是'}{younger}当时年龄的 {times} 倍")
            continue
        year = f"{abs(shift)} year{'s' * (abs(shift) > 1)}"
        verb, when = ("was", f"{year} ago") if shift < 0 else ("will be", f"In {year}")
        much = "twice" if times == 2 else f"{times} times"
        said.append(
            f"{when[0].upper() + when[1:]}, {older} {verb} {much} as old as {younger} {'was' if shift < 0 else 'will be'} then"
        )
    if language == "zh":
        total = f"{'、'.join(names)}今年的年龄之和是 {problem['sum']} 岁"
        return f"{total}。{'；'.join(said)}。{asked}今年多少岁？"
    total = f"The ages of {', '.join(names[:-1])} and {names[-1]} add up to {problem['sum']} today"
    return f"{total}. {'. '.join(said)}. How old is {asked} today?"
