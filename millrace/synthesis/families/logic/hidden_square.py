"""A Latin square with most numbers hidden: by filling in and going back, proven by trying every row."""

from __future__ import annotations

import itertools
import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"latin square|sudoku|grid puzzle|拉丁方|数独|填数"
DIAL = "the squares that are hidden"

SIZES = {1: (4, 6), 2: (4, 9), 3: (5, 13), 4: (5, 16), 5: (6, 22)}
"""Level → side, hidden squares."""


def draw(rng: random.Random, level: int) -> Problem:
    """Numbers are hidden one after the other, as long as one solution is left; the row asked for has at least two hidden."""
    side, hidden = SIZES[level]
    while True:
        rows, columns, numbers = (rng.sample(range(side), side) for _ in range(3))
        square = [[numbers[(row + column) % side] + 1 for column in columns] for row in rows]
        problem: dict[str, Any] = {"square": square, "row": 0}
        places = rng.sample(list(itertools.product(range(side), repeat=2)), side * side)
        left = hidden
        for row, column in places:
            if not left:
                break
            number, square[row][column] = square[row][column], 0
            if len(_filled(problem, 2)) == 1:
                left -= 1
            else:
                square[row][column] = number
        asked = [row for row in range(side) if square[row].count(0) >= 2]
        if not left and asked:
            problem["row"] = rng.choice(asked)
            return problem


def _filled(problem: Problem, most: int) -> list[list[list[int]]]:
    """Up to `most` solutions."""
    square, found = [list(row) for row in problem["square"]], []
    side = len(square)

    def go_on() -> None:
        free: tuple[int, int, set[int]] | None = None
        for row, column in itertools.product(range(side), repeat=2):
            if square[row][column] == 0:
                taken = {*square[row], *(other[column] for other in square)}
                may = set(range(1, side + 1)) - taken
                if free is None or len(may) < len(free[2]):
                    free = row, column, may
        if free is None:
            found.append([list(row) for row in square])
            return
        for number in sorted(free[2]):
            square[free[0]][free[1]] = number
            if len(found) < most:
                go_on()
        square[free[0]][free[1]] = 0

    go_on()
    return found


def solve(problem: Problem) -> int:
    """The square with the fewest possibilities first."""
    return int("".join(map(str, _filled(problem, 1)[0][problem["row"]])))


def verify(problem: Problem) -> int | None:
    """Row by row, every order of the numbers that fits what is shown and the rows above."""
    side = len(problem["square"])
    partial: list[tuple[tuple[int, ...], ...]] = [()]
    for shown in problem["square"]:
        fitting = [
            order
            for order in itertools.permutations(range(1, side + 1))
            if all(mine in (0, number) for mine, number in zip(shown, order, strict=True))
        ]
        partial = [
            (*above, order)
            for above in partial
            for order in fitting
            if all(a != b for row in above for a, b in zip(row, order, strict=True))
        ]
    return int("".join(map(str, partial[0][problem["row"]]))) if len(partial) == 1 else None


def effort(problem: Problem) -> float:
    """The hidden squares."""
    return float(sum(row.count(0) for row in problem["square"]))


def slips(problem: Problem) -> list[Any]:
    """The row backwards."""
    return [int(str(solve(problem))[::-1])]


def say(problem: Problem, language: str) -> str:
    """A grid."""
    side, row = len(problem["square"]), problem["row"] + 1
    grid = "\n".join(" ".join(str(number or "_") for number in line) for line in problem["square"])
    if language == "zh":
        return (
            f"在下面的 {side}×{side} 方格中，每行每列都恰好含有 1 到 {side} 各一次，_ 表示未给出的数。\n\n{grid}\n\n"
            f"第 {row} 行从左到右读成一个 {side} 位数，是多少？"
        )
    return (
        f"In this {side} by {side} grid, every row and every column holds each of the numbers 1 to {side} "
        f"exactly once; _ is a number not shown.\n\n"
        f"{grid}\n\nWhat is row {row}, read from left to right as a {side}-digit number?"
    )
