"""Ways to keep roads so that all villages stay connected without a loop: by a determinant, proven by trying all choices."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"spanning tree|connected|graph|road|连通|生成树|图论|道路"
DIAL = "the choices of roads"

SIZES = {1: (5, 7), 2: (6, 9), 3: (7, 11), 4: (8, 13), 5: (9, 14)}
"""Level → villages, roads."""
PLACES = "ABCDEFGHI"


def draw(rng: random.Random, level: int) -> Problem:
    """A connected map with loops."""
    places, roads = SIZES[level]
    while True:
        found = sorted(rng.sample(list(itertools.combinations(range(places), 2)), roads))
        problem = {"places": places, "roads": [list(road) for road in found], "told": rng.randrange(2)}
        if solve(problem) > 3:
            return problem


def solve(problem: Problem) -> int:
    """Kirchhoff: the determinant of the map's Laplacian without its last row and column."""
    size = problem["places"] - 1
    rows = [[Fraction(0)] * size for _ in range(size)]
    for a, b in problem["roads"]:
        for one, other in ((a, b), (b, a)):
            if one < size:
                rows[one][one] += 1
                if other < size:
                    rows[one][other] -= 1
    product = Fraction(1)
    for column in range(size):
        pivot = next((row for row in range(column, size) if rows[row][column]), None)
        if pivot is None:
            return 0
        if pivot != column:
            rows[column], rows[pivot] = rows[pivot], rows[column]
            product = -product
        product *= rows[column][column]
        for row in range(column + 1, size):
            factor = rows[row][column] / rows[column][column]
            rows[row] = [mine - factor * other for mine, other in zip(rows[row], rows[column], strict=True)]
    return int(product)


def verify(problem: Problem) -> int | None:
    """Each choice of one road fewer than there are villages, joined road by road."""
    count = 0
    for chosen in itertools.combinations(problem["roads"], problem["places"] - 1):
        group = list(range(problem["places"]))
        for a, b in chosen:
            if group[a] == group[b]:
                break
            group = [group[a] if mine == group[b] else mine for mine in group]
        else:
            count += 1
    return count


def effort(problem: Problem) -> float:
    """The choices."""
    return float(2 ** len(problem["roads"]))


def slips(problem: Problem) -> list[Any]:
    """All choices of that many roads; the roads that may be closed one at a time."""
    return [len(list(itertools.combinations(problem["roads"], problem["places"] - 1))), len(problem["roads"])]


def say(problem: Problem, language: str) -> str:
    """Villages in snow, or offices with cables."""
    roads = [f"{PLACES[a]}–{PLACES[b]}" for a, b in problem["roads"]]
    count = problem["places"]
    if language == "zh":
        thing, way = (("村庄", "道路"), ("机房", "线路"))[problem["told"]]
        return (
            f"{count} 个{thing} {'、'.join(PLACES[:count])} 之间有这些{way}：{'、'.join(roads)}。"
            f"要保留其中恰好 {count - 1} 条{way}，"
            f"使任意两个{thing}之间仍可互达。共有多少种保留方法？"
        )
    if problem["told"]:
        return (
            f"{count} offices, {', '.join(PLACES[:count])}, are joined by these cables: {', '.join(roads)}. "
            f"Exactly {count - 1} cables are to "
            "be kept, so that every office can still reach every other one. In how many ways can they be chosen?"
        )
    return (
        f"After snowfall, exactly {count - 1} of the roads between the villages {', '.join(PLACES[:count])} "
        f"will be cleared, so that one can get "
        f"from every village to every other. The roads are {', '.join(roads)}. In how many ways can the roads be chosen?"
    )
