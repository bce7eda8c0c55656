"""The cheapest route with one free ride: by Dijkstra over places and vouchers, proven by trying every route."""

from __future__ import annotations

import heapq
import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"optimi|graph|shortest|route|network|path|dijkstra|最优|图论|最短|路线|网络"
DIAL = "the roads"

SIZES = {1: (5, 6), 2: (6, 8), 3: (7, 10), 4: (8, 12), 5: (9, 14)}


def draw(rng: random.Random, level: int) -> Problem:
    """Roads that join all places, none of them from start to end; the voucher changes which route is cheapest."""
    places, roads = SIZES[level]
    while True:
        joined = {(rng.randrange(int(place == places - 1), place), place) for place in range(1, places)}
        others = [
            (a, b) for a in range(places) for b in range(a + 1, places) if (a, b) not in joined and (a, b) != (0, places - 1)
        ]
        joined |= set(rng.sample(others, min(len(others), roads - len(joined))))
        problem: Problem = {"places": places, "roads": [[a, b, rng.randint(11, 70)] for a, b in sorted(joined)]}
        known = {cost for _, _, cost in problem["roads"]} | {*slips(problem), 0}
        if solve(problem) not in known:  # more than one road is paid, and the voucher changes which
            return problem


def solve(problem: Problem) -> int:
    """Dijkstra, where a state is a place and whether the voucher is still there."""
    return _cheapest(problem, vouchers=1)


def _cheapest(problem: Problem, vouchers: int) -> int:
    waiting, done = [(0, 0, vouchers)], set[tuple[int, int]]()
    while waiting:
        cost, place, left = heapq.heappop(waiting)
        if place == problem["places"] - 1:
            return int(cost)
        if (place, left) in done:
            continue
        done.add((place, left))
        for a, b, price in problem["roads"]:
            if place in (a, b):
                heapq.heappush(waiting, (cost + price, a + b - place, left))
                if left:
                    heapq.heappush(waiting, (cost, a + b - place, left - 1))
    raise AssertionError("the roads join all places")


def verify(problem: Problem) -> int | None:
    """Every route that visits no place twice, less its dearest road."""
    price = {(a, b): cost for a, b, cost in problem["roads"]} | {(b, a): cost for a, b, cost in problem["roads"]}
    best: list[int] = []

    def follow(place: int, seen: tuple[int, ...], paid: list[int]) -> None:
        if place == problem["places"] - 1:
            best.append(sum(paid) - max(paid))
            return
        for other in range(problem["places"]):
            if (place, other) in price and other not in seen:
                follow(other, (*seen, other), [*paid, price[place, other]])

    follow(0, (0,), [])
    return min(best) if best else None


def effort(problem: Problem) -> float:
    """The roads."""
    return float(len(problem["roads"]))


def slips(problem: Problem) -> list[Any]:
    """No voucher; the voucher used on the dearest road of the route that is cheapest without it."""
    routes: list[tuple[int, int]] = []

    def follow(place: int, seen: tuple[int, ...], paid: tuple[int, ...]) -> None:
        if place == problem["places"] - 1:
            routes.append((sum(paid), sum(paid) - max(paid)))
            return
        for a, b, cost in problem["roads"]:
            if place in (a, b) and a + b - place not in seen:
                follow(a + b - place, (*seen, a + b - place), (*paid, cost))

    follow(0, (0,), ())
    return [min(routes)[0], min(routes)[1]]


def say(problem: Problem, language: str) -> str:
    """Ferries between islands."""
    letters = "ABCDEFGHIJ"
    end = letters[problem["places"] - 1]
    if language == "zh":
        said = "，".join(f"{letters[a]}—{letters[b]} {cost} 元" for a, b, cost in problem["roads"])
        return (
            f"岛屿之间的渡轮（双向，票价相同）为：{said}。旅客要从 A 到 {end}，持有一张可免费乘坐任意一段渡轮的券。"
            "最少需要花费多少元？"
        )
    said = ", ".join(f"{letters[a]}–{letters[b]} {cost} euros" for a, b, cost in problem["roads"])
    return (
        f"Ferries run between islands, in both directions at the same price: {said}. A traveller goes from A to {end} "
        "and has a voucher "
        "for one free ride on any one ferry. What is the least amount in euros that the journey costs?"
    )
