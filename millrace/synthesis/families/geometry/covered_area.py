"""The area that overlapping rectangles cover: by inclusion and exclusion, proven by counting unit squares."""

from __future__ import annotations

import itertools
import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"rectangle|overlapping area|union of|矩形|重叠面积|覆盖"
DIAL = "the sets of rectangles that may overlap"

SIZES = {1: (2, 14), 2: (3, 18), 3: (4, 22), 4: (5, 26), 5: (7, 34)}
"""Level → rectangles, side of the field."""


def draw(rng: random.Random, level: int) -> Problem:
    """Rectangles of which each overlaps another."""
    count, side = SIZES[level]
    while True:
        found = []
        for _ in range(count):
            x, y = rng.randint(0, side - 5), rng.randint(0, side - 5)
            found.append([x, y, rng.randint(x + 3, side), rng.randint(y + 3, side)])
        if all(any(_common([one, other]) for other in found if other is not one) for one in found):
            problem = {"rectangles": found, "ask": rng.choice(["covered", "twice"]), "told": rng.randrange(2)}
            if solve(problem) > 2:
                return problem


def _common(rectangles: list[list[int]] | tuple[list[int], ...]) -> int:
    width = min(r[2] for r in rectangles) - max(r[0] for r in rectangles)
    height = min(r[3] for r in rectangles) - max(r[1] for r in rectangles)
    return width * height if width > 0 and height > 0 else 0


def solve(problem: Problem) -> int:
    """Over all sets of rectangles, by their common part."""
    total = 0
    for size in range(1, len(problem["rectangles"]) + 1):
        weight = (-1) ** (size - 1) if problem["ask"] == "covered" else (-1) ** size * (size - 1)
        total += weight * sum(_common(chosen) for chosen in itertools.combinations(problem["rectangles"], size))
    return total


def verify(problem: Problem) -> int | None:
    """Each unit square of the field."""
    least = 1 if problem["ask"] == "covered" else 2
    side = max(max(rectangle) for rectangle in problem["rectangles"])
    count = 0
    for x in range(side):
        for y in range(side):
            count += sum(a <= x < c and b <= y < d for a, b, c, d in problem["rectangles"]) >= least
    return count


def effort(problem: Problem) -> float:
    """The sets."""
    return float(2 ** len(problem["rectangles"]))


def slips(problem: Problem) -> list[Any]:
    """The areas added; pairs taken off and nothing put back."""
    areas = sum(_common([r]) for r in problem["rectangles"])
    return [areas, areas - sum(_common(pair) for pair in itertools.combinations(problem["rectangles"], 2))]


def say(problem: Problem, language: str) -> str:
    """Sheets on a floor, or lamps over a stage."""
    corners = [f"({a}, {b})–({c}, {d})" for a, b, c, d in problem["rectangles"]]
    if language == "zh":
        thing = ("几块矩形地毯铺在地面上", "几个矩形喷头区域位于同一块田里")[problem["told"]]
        what = "至少被一个矩形覆盖" if problem["ask"] == "covered" else "至少被两个矩形覆盖"
        return f"{thing}，边与坐标轴平行，左下角与右上角的坐标（米）为：{'，'.join(corners)}。{what}的面积是多少平方米？"
    thing = ("Rectangular carpets lie on a floor", "Sprinklers water rectangular parts of a field")[problem["told"]]
    what = (
        ("covered by at least one carpet", "watered by at least one sprinkler"),
        ("covered by at least two carpets", "watered by at least two sprinklers"),
    )[problem["ask"] != "covered"][problem["told"]]
    return (
        f"{thing}, with sides parallel to the axes. Their lower left and upper right corners, in metres, are "
        f"{', '.join(corners)}. How many square "
        f"metres are {what}?"
    )
