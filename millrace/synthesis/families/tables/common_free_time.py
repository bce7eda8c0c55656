"""The minutes in which everybody is free, from several calendars: by joining what is busy, proven minute by minute."""

from __future__ import annotations

import itertools
import random
from typing import Any

from millrace.synthesis.families.contract import Problem
from millrace.synthesis.families.words import PEOPLE, some

ANSWER_TYPE = "integer"
TOPIC = r"calendar|meeting time|schedule of people|free time|日程|空闲|共同时间"
DIAL = "the appointments"

SIZES = {1: (2, 2), 2: (2, 3), 3: (3, 3), 4: (4, 3), 5: (5, 4)}
"""Level → people, appointments of each."""
OPEN, CLOSE = 9 * 60, 17 * 60


def draw(rng: random.Random, level: int) -> Problem:
    """Appointments on the five minutes, of which some overlap."""
    people, each = SIZES[level]
    while True:
        busy = [_day(rng, each) for _ in range(people)]
        problem = {"who": some(rng, people), "busy": busy, "shortest": rng.choice([0, 30, 45])}
        if solve(problem) > 30:
            return problem


def _day(rng: random.Random, count: int) -> list[list[int]]:
    """Appointments of one person, none within another."""
    while True:
        starts = sorted(rng.sample(range(OPEN, CLOSE - 30, 5), count))
        own = [[start, min(start + rng.randrange(20, 80, 5), CLOSE)] for start in starts]
        if all(a[1] <= b[0] for a, b in itertools.pairwise(own)):
            return own


def solve(problem: Problem) -> int:
    """From one end of what is busy to the next beginning."""
    now, free = OPEN, 0
    for start, end in [*sorted(part for own in problem["busy"] for part in own), [CLOSE, CLOSE]]:
        if start - now >= max(1, problem["shortest"]):
            free += start - now
        now = max(now, end)
    return free


def verify(problem: Problem) -> int | None:
    """Each minute of the day, and how long the run is that it belongs to."""
    minutes = "".join(
        "." if all(not start <= minute < end for own in problem["busy"] for start, end in own) else "x"
        for minute in range(OPEN, CLOSE)
    )
    return sum(len(run) for run in minutes.split("x") if len(run) >= problem["shortest"])


def effort(problem: Problem) -> float:
    """The appointments."""
    return float(sum(map(len, problem["busy"])))


def slips(problem: Problem) -> list[Any]:
    """Overlaps counted twice; gaps that are too short counted."""
    return [CLOSE - OPEN - sum(end - start for own in problem["busy"] for start, end in own), solve({**problem, "shortest": 0})]


def _clock(minute: int) -> str:
    return f"{minute // 60}:{minute % 60:02d}"


def say(problem: Problem, language: str) -> str:
    """Calendars, line by line."""
    lines = []
    for who, own in zip(problem["who"], problem["busy"], strict=True):
        times = ", ".join(f"{_clock(start)}–{_clock(end)}" for start, end in own)
        lines.append(f"{PEOPLE[language][who]}: {times}")
    shown, shortest = "\n".join(lines), problem["shortest"]
    if language == "zh":
        least = f"只计长度不少于 {shortest} 分钟的共同空闲时段，" if shortest else ""
        return f"工作时间为 9:00 到 17:00。以下时段各人没有空：\n\n{shown}\n\n{least}工作时间内所有人都有空的时间一共是多少分钟？"
    least = f", counting only stretches of at least {shortest} minutes" if shortest else ""
    return (
        f"The working day is from 9:00 to 17:00. These are the times at which people are busy:\n\n{shown}\n\nFor "
        f"how many minutes of the working day are all of them free{least}?"
    )
