"""When two travellers meet: by relative speed, proven by moving both minute by minute."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"word problem|story|speed|distance|meet|train|motion|应用题|速度|路程|相遇|行程"
DIAL = "the legs of the journey: starts, rests and turns that have to be followed"

LEGS = {1: 2, 2: 3, 3: 4, 4: 5, 5: 6}


def draw(rng: random.Random, level: int) -> Problem:
    """Two cyclists towards each other; from level 2 on they rest, by whole minutes, and meet at a whole minute while riding."""
    while True:
        problem: Problem = {
            "distance": rng.randint(20, 160),
            "speeds": [rng.choice([12, 15, 18, 20, 24, 30]), rng.choice([10, 12, 15, 18, 20, 24, 30])],
            "later": rng.choice([10, 15, 20, 25, 30, 40, 45]),
            "rests": sorted(
                [[rng.randint(0, 1), rng.randrange(45, 200, 5), rng.randrange(5, 35, 5)] for _ in range(LEGS[level] - 2)],
                key=lambda rest: rest[1],
            ),
        }
        ends: dict[int, int] = {}
        apart = True
        for who, start, lasts in problem["rests"]:
            apart &= start > ends.get(who, 0) + 10 and start > problem["later"] + 10
            ends[who] = start + lasts
        met = _met(problem) if apart else Fraction(1, 2)
        in_time = all(start + lasts < met for _, start, lasts in problem["rests"])
        if met.denominator == 1 and met > problem["later"] + 10 and in_time:
            return problem


def _met(problem: Problem) -> Fraction:
    """Minutes from the first start: both would have ridden all the time, but for the later start and the rests."""
    first, second = (Fraction(speed, 60) for speed in problem["speeds"])
    lost = second * problem["later"] + sum((first, second)[who] * lasts for who, _, lasts in problem["rests"])
    met: Fraction = (problem["distance"] + lost) / (first + second)
    return met


def solve(problem: Problem) -> int:
    """One equation: what both have ridden is the distance."""
    return int(_met(problem))


def verify(problem: Problem) -> int | None:
    """Minute by minute, in sixtieths of a kilometre."""
    left, minute = problem["distance"] * 60, 0
    while left > 0 and minute < 5_000:
        for who, speed in enumerate(problem["speeds"]):
            resting = any(rest[0] == who and rest[1] <= minute < rest[1] + rest[2] for rest in problem["rests"])
            if not resting and (who == 0 or minute >= problem["later"]):
                left -= speed
        minute += 1
    return minute if left == 0 else None


def effort(problem: Problem) -> float:
    """The legs: two starts and the rests."""
    return float(2 + len(problem["rests"]))


def slips(problem: Problem) -> list[Any]:
    """The rests forgotten; counted from the second start; the later start forgotten."""
    met = solve(problem)
    return [int(_met({**problem, "rests": []})), met - problem["later"], int(_met({**problem, "later": 0}))]


def say(problem: Problem, language: str) -> str:
    """Two cyclists."""
    one, two = problem["speeds"]
    if language == "zh":
        rests = "".join(f"甲出发 {start} 分钟时，{'甲乙'[who]}停下休息 {lasts} 分钟。" for who, start, lasts in problem["rests"])
        return (
            f"两地相距 {problem['distance']} 千米。甲从 A 地骑车前往 B 地，速度为每小时 {one} 千米；{problem['later']} "
            "分钟后乙从 B 地沿同一条路骑向 A 地，"
            f"速度为每小时 {two} 千米。{rests}两人在甲出发多少分钟后相遇？"
        )
    rests = "".join(
        f" {('Mira', 'Paul')[who]} rests for {lasts} minutes, beginning {start} minutes after Mira's start."
        for who, start, lasts in problem["rests"]
    )
    return (
        f"Two towns are {problem['distance']} km apart. Mira leaves the first town by bicycle at {one} km/h towards the "
        f"second; {problem['later']} "
        f"minutes later Paul leaves the second town on the same road towards the first at {two} km/h.{rests} "
        "How many minutes after Mira's start do they meet?"
    )
