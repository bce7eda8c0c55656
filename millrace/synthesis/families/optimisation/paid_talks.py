"""The best fee from jobs that must not overlap: by a table over end times, proven by trying every choice."""

from __future__ import annotations

import itertools
import random
from typing import Any

from millrace.synthesis.families.contract import Problem
from millrace.synthesis.families.words import PEOPLE

ANSWER_TYPE = "integer"
TOPIC = r"interval|overlap|booking|time slots|区间|不重叠|预约|时段"
DIAL = "the choices of jobs"

SIZES = {1: 5, 2: 7, 3: 9, 4: 11, 5: 14}


def draw(rng: random.Random, level: int) -> Problem:
    """Jobs with start, end and fee; taking the dearest first would earn less than the best choice from level 2 on."""
    while True:
        jobs = []
        for _ in range(SIZES[level]):
            start = rng.randint(8, 17)
            jobs.append([start, start + rng.randint(1, min(5, 20 - start)), rng.randint(20, 99)])
        problem = {"jobs": sorted(jobs), "who": rng.randrange(len(PEOPLE["en"])), "told": rng.randrange(2)}
        if len({tuple(job) for job in jobs}) == len(jobs) and (level == 1 or _dearest_first(jobs) < solve(problem)):
            return problem


def _dearest_first(jobs: list[list[int]]) -> int:
    taken: list[list[int]] = []
    for job in sorted(jobs, key=lambda job: -job[2]):
        if all(job[1] <= other[0] or other[1] <= job[0] for other in taken):
            taken.append(job)
    return sum(job[2] for job in taken)


def solve(problem: Problem) -> int:
    """The best until each hour."""
    best = [0] * 25
    for hour in range(1, 25):
        best[hour] = max([best[hour - 1], *(best[start] + fee for start, end, fee in problem["jobs"] if end == hour)])
    return best[-1]


def verify(problem: Problem) -> int | None:
    """Every choice of jobs."""
    best = 0
    for chosen in itertools.product((False, True), repeat=len(problem["jobs"])):
        jobs = [job for job, taken in zip(problem["jobs"], chosen, strict=True) if taken]
        if all(a[1] <= b[0] for a, b in itertools.pairwise(jobs)):
            best = max(best, sum(job[2] for job in jobs))
    return best


def effort(problem: Problem) -> float:
    """The choices."""
    return float(2 ** len(problem["jobs"]))


def slips(problem: Problem) -> list[Any]:
    """The dearest first; all of them."""
    return [_dearest_first(problem["jobs"]), sum(job[2] for job in problem["jobs"])]


def say(problem: Problem, language: str) -> str:
    """A hall to let, or an interpreter's day."""
    who = PEOPLE[language][problem["who"]]
    jobs = [f"{start}:00–{end}:00 ({fee})" for start, end, fee in problem["jobs"]]
    if language == "zh":
        thing = (
            f"{who}是一名口译员，今天收到这些工作（时间与报酬，单位元）"
            if problem["told"]
            else f"{who}出租一间礼堂，今天收到这些预订（时间与租金，单位元）"
        )
        return f"{thing}：{'，'.join(jobs)}。时间重叠的不能同时接受，前一个结束时下一个可以立即开始。{who}今天最多能收入多少元？"
    thing = (
        f"{who} is an interpreter and is offered these jobs today, with the fee in euros"
        if problem["told"]
        else f"{who} lets a hall and is asked for these bookings today, with the rent in euros"
    )
    return (
        f"{thing}: {', '.join(jobs)}. Two that overlap cannot both be accepted; one may begin when another "
        f"ends. What is the most that "
        f"{who} can earn today?"
    )
