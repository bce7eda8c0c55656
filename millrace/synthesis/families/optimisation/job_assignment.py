"""Who does which job at the least cost: by a table over sets of jobs, proven by trying every assignment."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

from millrace.synthesis.families.contract import Problem
from millrace.synthesis.families.words import PEOPLE, some

ANSWER_TYPE = "integer"
TOPIC = r"assign|matching|cheapest team|指派|匹配|分派"
DIAL = "the assignments"

SIZES = {1: 3, 2: 4, 3: 5, 4: 6, 5: 7}


def draw(rng: random.Random, level: int) -> Problem:
    """Quotes of each worker for each job; choosing in turn gives a dearer assignment than the best from level 2 on."""
    count = SIZES[level]
    while True:
        quotes = [[rng.randint(11, 60) for _ in range(count)] for _ in range(count)]
        problem = {"who": some(rng, count), "quotes": quotes, "forbidden": [rng.randrange(count), rng.randrange(count)]}
        if level == 1 or _in_turn(problem) > solve(problem):
            return problem


def _in_turn(problem: Problem) -> int:
    free, total = set(range(len(problem["quotes"]))), 0
    for worker, row in enumerate(problem["quotes"]):
        allowed = [job for job in free if [worker, job] != problem["forbidden"]] or list(free)
        job = min(allowed, key=lambda job: (row[job], job))
        free.remove(job)
        total += row[job]
    return total


def solve(problem: Problem) -> int:
    """The least cost of each set of jobs, given to the first workers."""
    best = {frozenset[int](): 0}
    for worker, row in enumerate(problem["quotes"]):
        further: dict[frozenset[int], int] = {}
        for jobs, cost in best.items():
            for job, price in enumerate(row):
                if job not in jobs and [worker, job] != problem["forbidden"]:
                    key = jobs | {job}
                    further[key] = min(further.get(key, cost + price), cost + price)
        best = further
    return min(best.values())


def verify(problem: Problem) -> int | None:
    """Every assignment."""
    worker, barred = problem["forbidden"]
    found: list[int] = [
        sum(row[job] for row, job in zip(problem["quotes"], jobs, strict=True))
        for jobs in itertools.permutations(range(len(problem["quotes"])))
        if jobs[worker] != barred
    ]
    return min(found)


def effort(problem: Problem) -> float:
    """The assignments."""
    return float(math.factorial(len(problem["quotes"])))


def slips(problem: Problem) -> list[Any]:
    """Each one's cheapest job; the workers choosing in turn."""
    return [sum(map(min, problem["quotes"])), _in_turn(problem)]


def say(problem: Problem, language: str) -> str:
    """Painters and rooms."""
    names = [PEOPLE[language][who] for who in problem["who"]]
    worker, barred = problem["forbidden"]
    head = " | ".join(["姓名" if language == "zh" else "name", *(str(job) for job in range(1, len(names) + 1))])
    rows = "\n".join(f"{name} | {' | '.join(map(str, row))}" for name, row in zip(names, problem["quotes"], strict=True))
    if language == "zh":
        return (
            f"每人恰好粉刷一个房间，每个房间恰好由一人粉刷。各人对房间 1 到 {len(names)} 的报价（元）如下：\n\n{head}\n{rows}\n\n"
            f"{names[worker]}不能粉刷房间 {barred + 1}。总价最低是多少元？"
        )
    return (
        f"Each of {len(names)} painters paints exactly one of {len(names)} rooms, and each room is painted by "
        f"one of them. Their quotes in euros "
        f"for rooms 1 to {len(names)}:\n\n{head}\n{rows}\n\n{names[worker]} cannot take room {barred + 1}. "
        f"What is the lowest total price?"
    )
