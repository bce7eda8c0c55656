"""Seatings in which nobody sits where they refuse to: by rook polynomials, proven by trying every seating."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

from millrace.synthesis.families.contract import Problem
from millrace.synthesis.families.words import PEOPLE, listed, some

ANSWER_TYPE = "integer"
TOPIC = r"permut|arrange|seat|derange|combin|count|排列|座位|错排|组合|计数"
DIAL = "the pairs of a person and a seat that is refused"

SIZES = {1: (4, 3), 2: (5, 5), 3: (6, 8), 4: (7, 11), 5: (7, 15)}


def draw(rng: random.Random, level: int) -> Problem:
    """People, and the seats that each refuses."""
    people, pairs = SIZES[level]
    while True:
        found = rng.sample([(person, seat) for person in range(people) for seat in range(1, people + 1)], pairs)
        refused = [sorted(seat for who, seat in found if who == person) for person in range(people)]
        problem = {"who": some(rng, people), "refused": refused}
        if max(map(len, refused)) < people - 1 and solve(problem) > 2:
            return problem


def solve(problem: Problem) -> int:
    """Inclusion and exclusion over sets of refused pairs that can all happen together."""
    refused, count = problem["refused"], len(problem["refused"])
    rooks = {frozenset[int](): 1}
    by_size: dict[int, int] = {0: 1}
    for seats in refused:
        further = dict(rooks)
        for taken, ways in rooks.items():
            for seat in seats:
                if seat not in taken:
                    further[taken | {seat}] = further.get(taken | {seat}, 0) + ways
        rooks = further
    for size in range(1, count + 1):
        by_size[size] = sum(ways for taken, ways in rooks.items() if len(taken) == size)
    return sum((-1) ** size * ways * math.factorial(count - size) for size, ways in by_size.items())


def verify(problem: Problem) -> int | None:
    """Every seating."""
    refused = [set(seats) for seats in problem["refused"]]
    seatings = itertools.permutations(range(1, len(refused) + 1))
    return sum(all(seat not in no for seat, no in zip(seating, refused, strict=True)) for seating in seatings)


def effort(problem: Problem) -> float:
    """The refused pairs."""
    return float(sum(map(len, problem["refused"])))


def slips(problem: Problem) -> list[Any]:
    """The free seats of each multiplied; the refusals ignored."""
    count = len(problem["refused"])
    return [math.prod(count - len(seats) for seats in problem["refused"]), math.factorial(count), solve(problem) + 2]


def say(problem: Problem, language: str) -> str:
    """Friends at a theatre."""
    names = [PEOPLE[language][who] for who in problem["who"]]
    count = len(names)
    if language == "zh":
        wishes = "；".join(
            f"{name}不坐 {'、'.join(map(str, seats))} 号座位"
            for name, seats in zip(names, problem["refused"], strict=True)
            if seats
        )
        return (
            f"{listed(names, language)}共 {count} 人坐编号 1 到 {count} 的 {count} 个座位，每人一个。{wishes}。共有多少种坐法？"
        )
    wishes = "; ".join(
        f"{name} refuses seat{'s' * (len(seats) > 1)} {listed([str(seat) for seat in seats], language)}"
        for name, seats in zip(names, problem["refused"], strict=True)
        if seats
    )
    return (
        f"{listed(names, language)} take the {count} seats numbered 1 to {count}, one each. {wishes}. How many "
        "seatings are possible?"
    )
