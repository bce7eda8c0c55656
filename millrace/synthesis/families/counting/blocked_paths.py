"""Ways through a grid with closed crossings: by inclusion and exclusion, proven by counting crossing after crossing."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"path|grid|lattice|combin|count|路径|网格|组合|计数"
DIAL = "the crossings of the grid"

SIZES = {1: (3, 5, 2), 2: (5, 7, 3), 3: (7, 9, 3), 4: (9, 11, 4), 5: (11, 14, 5)}
"""Level → streets from, to, closed crossings."""


def draw(rng: random.Random, level: int) -> Problem:
    """A grid, and closed crossings that each lie on a way and leave some way open."""
    low, high, closed = SIZES[level]
    while True:
        east, north = rng.randint(low, high), rng.randint(low, high)
        inner = [(x, y) for x in range(east + 1) for y in range(north + 1) if 0 < x + y < east + north]
        problem = {"east": east, "north": north, "closed": sorted(map(list, rng.sample(inner, closed)))}
        if solve(problem) > 2:
            return problem


def solve(problem: Problem) -> int:
    """All ways, less those through one closed crossing, and so on; only rising sequences of crossings have ways."""
    end = (problem["east"], problem["north"])
    total = 0
    for count in range(len(problem["closed"]) + 1):
        for through in itertools.combinations(problem["closed"], count):
            ways, (x, y) = 1, (0, 0)
            for u, v in [*through, end]:
                ways *= math.comb(u - x + v - y, u - x) if u >= x and v >= y else 0
                x, y = u, v
            total += (-1) ** count * ways
    return total


def verify(problem: Problem) -> int | None:
    """The ways to each crossing from those to its neighbours."""
    closed = {tuple(crossing) for crossing in problem["closed"]}
    ways = [[0] * (problem["north"] + 1) for _ in range(problem["east"] + 1)]
    ways[0][0] = 1
    for x in range(problem["east"] + 1):
        for y in range(problem["north"] + 1):
            if (x, y) in closed:
                ways[x][y] = 0
            elif x or y:
                ways[x][y] = (ways[x - 1][y] if x else 0) + (ways[x][y - 1] if y else 0)
    return ways[-1][-1]


def effort(problem: Problem) -> float:
    """The crossings."""
    return float((problem["east"] + 1) * (problem["north"] + 1))


def slips(problem: Problem) -> list[Any]:
    """No crossing closed; those through closed ones taken off without their overlap."""
    east, north = problem["east"], problem["north"]
    whole = math.comb(east + north, east)
    single = [math.comb(x + y, x) * math.comb(east - x + north - y, east - x) for x, y in problem["closed"]]
    return [whole, whole - sum(single), solve(problem) + 1]


def say(problem: Problem, language: str) -> str:
    """A walk in a town."""
    closed = problem["closed"]
    if language == "zh":
        places = "、".join(f"({x}, {y})" for x, y in closed)
        return (
            f"城市街道构成方格网。小李从路口 (0, 0) 走到路口 ({problem['east']}, {problem['north']})，"
            "每一步只能向东（第一个坐标加 1）"
            f"或向北（第二个坐标加 1）走到相邻路口。路口 {places} 因施工不能通过。他共有多少条不同的路线？"
        )
    places = ", ".join(f"({x}, {y})" for x, y in closed)
    return (
        f"The streets of a town form a grid. Lena walks from the crossing (0, 0) to the crossing ({problem['east']}, "
        f"{problem['north']}); each step takes her one crossing east (first coordinate plus 1) or north (second "
        "coordinate plus 1). "
        f"Closed for building work: {places}. How many different routes can she take?"
    )
