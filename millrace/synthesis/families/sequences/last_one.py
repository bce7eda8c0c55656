"""Who is left in a circle when every so-manieth leaves: by the recurrence, proven by playing it."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"josephus|circle|count(ing)? out|eliminat|recurrence|sequence|约瑟夫|围成一圈|递推|数列"
DIAL = "the people that leave"

SIZES = {1: (6, 10), 2: (11, 18), 3: (19, 32), 4: (33, 60), 5: (61, 120)}


def draw(rng: random.Random, level: int) -> Problem:
    """A circle, a step, and how many stay: the last one, or the one who leaves last but a few."""
    people = rng.randint(*SIZES[level])
    while True:
        problem = {"people": people, "step": rng.randint(3, 11), "start": rng.randint(2, people), "left": rng.randint(0, 3)}
        if solve(problem) > 1:
            return problem


def solve(problem: Problem) -> int:
    """The place in the circle as it is when `left` others are still there, carried back person by person."""
    step, left, people = problem["step"], problem["left"], problem["people"]
    place = (step - 1) % (left + 1) if left else 0
    for size in range(left + 2, people + 1):
        place = (place + step) % size
    return int((place + problem["start"] - 1) % people + 1)


def verify(problem: Problem) -> int | None:
    """The circle, turned and shortened."""
    circle = deque(range(1, problem["people"] + 1))
    circle.rotate(1 - problem["start"])
    gone = []
    while circle:
        circle.rotate(1 - problem["step"])
        gone.append(circle.popleft())
    return int(gone[-1 - problem["left"]])


def effort(problem: Problem) -> float:
    """Those that leave."""
    return float(problem["people"] - problem["left"])


def slips(problem: Problem) -> list[Any]:
    """Counting begun after the first person; the last one in place of the one asked for; places from zero."""
    people = problem["people"]
    return [solve(problem) % people + 1, solve({**problem, "left": (problem["left"] + 1) % 4}), solve({**problem, "start": 1})]


def say(problem: Problem, language: str) -> str:
    """A counting-out game."""
    people, step, start, left = (problem[name] for name in ("people", "step", "start", "left"))
    if language == "zh":
        who = "最后一个离开的人" if not left else f"倒数第 {left + 1} 个离开的人"
        return (
            f"{people} 个人按顺时针编号 1 到 {people} 围成一圈。从 {start} 号开始沿编号增大的方向报数（{start} 号报 "
            f"1），报到 {step} 的人离开，"
            f"再从下一个人重新由 1 报数，直到所有人都离开。{who}是几号？"
        )
    who = "the last to leave" if not left else f"number {left + 1} from the end in the order of leaving"
    return (
        f"{people} people numbered 1 to {people} stand in a circle in this order. Counting starts with number {start}, "
        "who says 1, and goes on "
        f"upwards round the circle; the person who says {step} leaves, and counting starts again from 1 with the next "
        "one, until nobody is left. "
        f"Which number is {who}?"
    )
