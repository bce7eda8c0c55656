"""Lattice points inside a polygon: by Pick's theorem, proven by testing every point."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"geometr|polygon|area|lattice|coordinate|triangle|几何|多边形|面积|格点|坐标|三角"
DIAL = "the corners times the width of the field"

SIZES = {1: (3, 7), 2: (4, 9), 3: (5, 12), 4: (6, 15), 5: (7, 20)}


def draw(rng: random.Random, level: int) -> Problem:
    """Corners in the order of their direction from the middle: the outline never crosses itself."""
    corners, width = SIZES[level]
    while True:
        points = [(rng.randint(0, width), rng.randint(0, width)) for _ in range(corners)]
        middle = (sum(x for x, _ in points) / corners, sum(y for _, y in points) / corners)
        angles = {round(math.atan2(y - middle[1], x - middle[0]), 6): (x, y) for x, y in points}
        ordered = [list(angles[angle]) for angle in sorted(angles)]
        problem = {"corners": ordered}
        turns = [_turn(*ordered[place - 2], *ordered[place - 1], *ordered[place]) for place in range(len(ordered))]
        if len(ordered) == corners and all(turns) and _round_the_middle(sorted(angles)) and solve(problem) > width:
            return problem


def _turn(a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    return (c - a) * (f - b) - (d - b) * (e - a)


def _round_the_middle(angles: list[float]) -> bool:
    """No gap of half a turn: the middle lies inside, so the outline is a star around it."""
    gaps = [b - a for a, b in itertools.pairwise([*angles, angles[0] + math.tau])]
    return max(gaps) < math.pi - 0.05


def solve(problem: Problem) -> int:
    """Area by the shoelace formula, points on the sides by common divisors, then Pick."""
    corners = problem["corners"]
    doubled = border = 0
    for (a, b), (c, d) in itertools.pairwise([*corners, corners[0]]):
        doubled += a * d - b * c
        border += math.gcd(c - a, d - b)
    return (abs(doubled) - border + 2) // 2


def verify(problem: Problem) -> int | None:
    """Each point of the field: on no side, and a ray from it crosses the outline an odd number of times."""
    corners = problem["corners"]
    sides = list(zip(corners, [*corners[1:], corners[0]], strict=True))
    count = 0
    for x in range(max(point[0] for point in corners) + 1):
        for y in range(max(point[1] for point in corners) + 1):
            inside = on_side = False
            for (a, b), (c, d) in sides:
                cross = (c - a) * (y - b) - (d - b) * (x - a)
                on_side |= cross == 0 and min(a, c) <= x <= max(a, c) and min(b, d) <= y <= max(b, d)
                if (b > y) != (d > y) and (cross > 0) == (d > b):
                    inside = not inside
            count += inside and not on_side
    return count


def effort(problem: Problem) -> float:
    """Corners times width."""
    return float(len(problem["corners"]) * max(max(point) for point in problem["corners"]))


def slips(problem: Problem) -> list[Any]:
    """The points on the outline counted too; the area in their place."""
    corners = problem["corners"]
    border = sum(math.gcd(c - a, d - b) for (a, b), (c, d) in itertools.pairwise([*corners, corners[0]]))
    inner = solve(problem)
    return [inner + border, inner + border // 2 - 1, inner + 1]


def say(problem: Problem, language: str) -> str:
    """The corners in order."""
    corners = [f"({x}, {y})" for x, y in problem["corners"]]
    if language == "zh":
        return f"多边形的顶点依次为 {'、'.join(corners)}。它的内部（不含边界）有多少个坐标均为整数的点？"
    return (
        f"A polygon has the vertices {', '.join(corners)}, in this order. "
        "How many points with integer coordinates lie strictly inside it, not on its boundary?"
    )
