"""The shortest time for jobs that pass two stations: by Johnson's rule, proven by trying every order."""

from __future__ import annotations

import itertools
import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"optimi|schedul|minim|shortest|johnson|plan|最优|调度|排程|最短|最小"
DIAL = "the orders that are possible"

JOBS = {1: 3, 2: 4, 3: 5, 4: 6, 5: 7}


def draw(rng: random.Random, level: int) -> Problem:
    """Jobs for which the order matters: as listed they take longer than at best."""
    while True:
        problem = {"jobs": [[rng.randint(2, 12), rng.randint(2, 12)] for _ in range(JOBS[level])]}
        if _finished(problem["jobs"]) > solve(problem):
            return problem


def _finished(jobs: list[list[int]]) -> int:
    first = second = 0
    for one, two in jobs:
        first += one
        second = max(first, second) + two
    return second


def solve(problem: Problem) -> int:
    """Jobs that are shorter at the first station first, by rising time; the others after them, by falling time."""
    early = sorted(job for job in problem["jobs"] if job[0] < job[1])
    late = sorted((job for job in problem["jobs"] if job[0] >= job[1]), key=lambda job: -job[1])
    return _finished([*early, *late])


def verify(problem: Problem) -> int | None:
    """Every order, its end found as the longest way through the table of the two stations' times."""
    painting, best = sum(job[1] for job in problem["jobs"]), 10**9
    for order in itertools.permutations(problem["jobs"]):
        longest = sawn = painted = 0
        for one, two in order:
            sawn += one
            longest = max(longest, sawn - painted)
            painted += two
        best = min(best, longest + painting)
    return best


def effort(problem: Problem) -> float:
    """The orders."""
    count = 1
    for number in range(2, len(problem["jobs"]) + 1):
        count *= number
    return float(count)


def slips(problem: Problem) -> list[Any]:
    """As listed; sorted by the first time; all times added up."""
    jobs = problem["jobs"]
    return [_finished(jobs), _finished(sorted(jobs, reverse=True)), sum(map(sum, jobs))]


def say(problem: Problem, language: str) -> str:
    """A workshop that saws and paints."""
    letters = "ABCDEFGHIJ"
    if language == "zh":
        said = "；".join(
            f"{letters[place]}：切割 {one} 分钟，喷漆 {two} 分钟" for place, (one, two) in enumerate(problem["jobs"])
        )
        return (
            f"一家作坊有一台切割机和一间喷漆房，各自一次只能处理一件工件。每件工件先切割再喷漆，工序开始后不中断。{said}。"
            "从第一件开始切割到最后一件喷漆完成，最少需要多少分钟？"
        )
    said = "; ".join(
        f"{letters[place]}: {one} min sawing, {two} min painting" for place, (one, two) in enumerate(problem["jobs"])
    )
    return (
        "A workshop has one saw and one paint booth; each takes one workpiece at a time, without interruption. "
        "Every workpiece is "
        f"sawn first and painted afterwards. {said}. "
        "What is the least number of minutes from the start of the first sawing to the end of the last painting?"
    )
