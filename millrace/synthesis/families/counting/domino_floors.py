"""Ways to lay dominoes on a floor with gaps: by a table over broken rows, proven by laying them one after the other."""

from __future__ import annotations

import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"tiling|domino|铺砖|骨牌|铺设"
DIAL = "the squares of the floor"

SIZES = {1: (2, 8, 2), 2: (3, 7, 2), 3: (4, 7, 2), 4: (4, 9, 2), 5: (5, 9, 2)}
"""Level → rows, columns about, squares that are taken."""


def draw(rng: random.Random, level: int) -> Problem:
    """A floor with pillars, as many on squares of either colour, that can be covered in more than three ways."""
    rows, about, taken = SIZES[level]
    while True:
        columns = rng.randint(about - 1, about + (1 if level > 2 else 3))
        pillars = taken + rows * columns % 2
        squares = [[row, column] for row in range(rows) for column in range(columns)]
        problem = {"rows": rows, "columns": columns, "pillars": sorted(rng.sample(squares, pillars))}
        if (rows * columns - pillars) % 2 == 0 and solve(problem) > 3:
            return problem


def solve(problem: Problem) -> int:
    """Square by square, with the set of squares below that are covered already."""
    rows, columns = problem["rows"], problem["columns"]
    pillars = {(row, column) for row, column in problem["pillars"]}
    states = {0: 1}
    for place in range(rows * columns):
        row, column = place % rows, place // rows
        after: dict[int, int] = {}

        def add(mask: int, ways: int, after: dict[int, int] = after) -> None:
            after[mask] = after.get(mask, 0) + ways

        for mask, ways in states.items():
            covered = mask >> row & 1
            bare = mask & ~(1 << row)
            if (row, column) in pillars:
                if not covered:
                    add(bare, ways)
            elif covered:
                add(bare, ways)
            else:
                if column + 1 < columns:
                    add(bare | 1 << row, ways)
                if row + 1 < rows and not mask >> (row + 1) & 1 and (row + 1, column) not in pillars:
                    add(bare | 1 << (row + 1), ways)
        states = after
    return states.get(0, 0)


def verify(problem: Problem) -> int | None:
    """The first free square is covered to the right or downwards, and so on; floors that look alike are counted once."""
    free = frozenset(
        (row, column)
        for row in range(problem["rows"])
        for column in range(problem["columns"])
        if [row, column] not in problem["pillars"]
    )
    known: dict[frozenset[tuple[int, int]], int] = {frozenset(): 1}

    def ways(left: frozenset[tuple[int, int]]) -> int:
        if left not in known:
            row, column = min(left, key=lambda square: (square[1], square[0]))
            pairs = [frozenset({(row, column), other}) for other in ((row + 1, column), (row, column + 1)) if other in left]
            known[left] = sum(ways(left - pair) for pair in pairs)
        return known[left]

    return ways(free)


def effort(problem: Problem) -> float:
    """The squares."""
    return float(problem["rows"] * problem["columns"] - len(problem["pillars"]))


def slips(problem: Problem) -> list[Any]:
    """The pillars forgotten; all laid one way."""
    return [solve({**problem, "pillars": []}), 1, problem["rows"] * problem["columns"] // 2]


def say(problem: Problem, language: str) -> str:
    """Tiles of two squares and pillars."""
    rows, columns = problem["rows"], problem["columns"]
    at = [f"({row + 1}, {column + 1})" for row, column in problem["pillars"]]
    if language == "zh":
        pillars = f"其中方格（行，列）{'、'.join(at)} 有柱子，不铺砖。" if at else ""
        return (
            f"一块地面分成 {rows} 行 {columns} 列方格。{pillars}用每块恰好盖住两个相邻方格的长方形砖铺满其余地面，"
            f"不重叠、不留空，共有多少种铺法？"
        )
    pillars = f" Pillars stand on the squares (row, column) {', '.join(at)}, which are not tiled." if at else ""
    rest = "the rest of the floor" if at else "the floor"
    return (
        f"A floor has {rows} rows and {columns} columns of squares.{pillars} Tiles that each cover exactly two "
        f"neighbouring squares are to cover "
        f"{rest} without gaps or overlaps. In how many ways can this be done?"
    )
