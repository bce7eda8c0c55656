"""The squared radius of the circle through three points: from its centre, proven from the three side lengths."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "fraction"
TOPIC = r"geometr|circle|triangle|radius|coordinate|几何|圆|三角|半径|坐标"
DIAL = "the largest coordinate"

WIDTHS = {1: (3, 4), 2: (5, 8), 3: (9, 14), 4: (15, 24), 5: (25, 40)}


def draw(rng: random.Random, level: int) -> Problem:
    """A triangle without a right angle, whose squared radius is a true fraction."""
    width = rng.randint(*WIDTHS[level])
    while True:
        points = [[rng.randint(-width, width), rng.randint(-width, width)] for _ in range(3)]
        points[rng.randrange(3)][rng.randrange(2)] = rng.choice([-width, width])
        (a, b), (c, d), (e, f) = points
        area = (c - a) * (f - b) - (e - a) * (d - b)
        sides = sorted(_squared(points))
        if area and sides[0] + sides[1] != sides[2] and Fraction(solve({"points": points})).denominator > 1:
            return {"points": points}


def _squared(points: list[list[int]]) -> list[int]:
    """The squared side lengths."""
    (a, b), (c, d), (e, f) = points
    return [(a - c) ** 2 + (b - d) ** 2, (c - e) ** 2 + (d - f) ** 2, (e - a) ** 2 + (f - b) ** 2]


def solve(problem: Problem) -> str:
    """The centre is as far from the first point as from the others: two linear equations."""
    (a, b), (c, d), (e, f) = problem["points"]
    p, q, r, s = 2 * (c - a), 2 * (d - b), 2 * (e - a), 2 * (f - b)
    u, v = c * c + d * d - a * a - b * b, e * e + f * f - a * a - b * b
    x, y = Fraction(u * s - q * v, p * s - q * r), Fraction(p * v - u * r, p * s - q * r)
    return str((x - a) ** 2 + (y - b) ** 2)


def verify(problem: Problem) -> str | None:
    """R² = a²b²c² / (16 K²), with 16 K² by Heron's formula from the squared sides."""
    points = problem["points"]
    a, b, c = (
        (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2
        for p, q in ((points[0], points[1]), (points[1], points[2]), (points[2], points[0]))
    )
    sixteen = 2 * (a * b + b * c + c * a) - (a * a + b * b + c * c)
    return str(Fraction(a * b * c, sixteen)) if sixteen else None


def effort(problem: Problem) -> float:
    """The largest coordinate."""
    return float(max(abs(number) for point in problem["points"] for number in point))


def slips(problem: Problem) -> list[Any]:
    """The longest side taken for a diameter; the squared diameter."""
    return [
        str(Fraction(max(_squared(problem["points"])), 4)),
        str(4 * Fraction(solve(problem))),
        str(Fraction(sum(_squared(problem["points"])), 9)),
    ]


def say(problem: Problem, language: str) -> str:
    """A triangle by its vertices."""
    one, two, three = (f"({x}, {y})" for x, y in problem["points"])
    if language == "zh":
        return f"三角形的顶点为 A{one}、B{two}、C{three}。求其外接圆半径的平方，用最简分数作答。"
    return (
        f"A triangle has the vertices A{one}, B{two} and C{three}. What is the square of the radius of its "
        "circumscribed circle? Give a fraction in lowest terms."
    )
