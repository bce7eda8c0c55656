"""Animals that live for some years and have young in between: by a recurrence, proven animal by age."""

from __future__ import annotations

import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"population|generation|rabbits|种群|繁殖|兔子"
DIAL = "the years"

SIZES = {1: (4, 5), 2: (6, 7), 3: (8, 10), 4: (11, 14), 5: (15, 20)}


def draw(rng: random.Random, level: int) -> Problem:
    """From which age, how many young, until which age; more are born than die."""
    low, high = SIZES[level]
    first = rng.randint(1, 3)
    return {
        "start": rng.randint(3, 30),
        "first": first,
        "young": rng.randint(1, 3),
        "last": first + rng.randint(1, 4),
        "years": rng.randint(low, high),
        "told": rng.randrange(2),
    }


def solve(problem: Problem) -> int:
    """The births of each year from those of earlier years; those who live are those born of late."""
    births = [problem["start"]]
    for year in range(1, problem["years"] + 1):
        parents = sum(births[year - age] for age in range(problem["first"], problem["last"] + 1) if year >= age)
        births.append(problem["young"] * parents)
    return sum(births[max(0, problem["years"] - problem["last"]) :])


def verify(problem: Problem) -> int | None:
    """How many there are of each age, year by year."""
    ages = {0: problem["start"]}
    for _ in range(problem["years"]):
        older = {age + 1: count for age, count in ages.items() if age < problem["last"]}
        older[0] = problem["young"] * sum(count for age, count in older.items() if age >= problem["first"])
        ages = older
    return sum(ages.values())


def effort(problem: Problem) -> float:
    """The years."""
    return float(problem["years"])


def slips(problem: Problem) -> list[Any]:
    """Nobody dies; a year too few."""
    births = [problem["start"]]
    for year in range(1, problem["years"] + 1):
        births.append(problem["young"] * sum(births[: max(0, year - problem["first"] + 1)]))
    return [sum(births), solve({**problem, "years": problem["years"] - 1})]


def say(problem: Problem, language: str) -> str:
    """Beetles, or plants."""
    first, last, young = problem["first"], problem["last"], problem["young"]
    if language == "zh":
        thing, child = (("甲虫", "只幼虫"), ("植物", "株幼苗"))[problem["told"]]
        unit = child[0]
        return (
            f"开始时有 {problem['start']} {unit}刚出生的{thing}（0 岁）。每过一年，每{unit}先长一岁；超过 "
            f"{last} 岁的死去；随后，年龄不小于 {first} "
            f"岁的每{unit}产生 {young} {child}（0 岁）。{problem['years']} 年后共有多少{unit}？"
        )
    thing, child = (("beetles", "beetle"), ("plants", "plant"))[problem["told"]]
    ages = f"aged {first} or more" if first < last else f"aged {first}"
    return (
        f"At the start there are {problem['start']} newborn {thing}, aged 0. Each year, all grow a year older; "
        f"those older than {last} die; then each {child} "
        f"{ages} produces {young} new one{'s' * (young > 1)}, aged 0. How many {thing} are there after {problem['years']} years?"
    )
