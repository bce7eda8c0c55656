"""The best load of a backpack: by dynamic programming over weights, proven by trying every choice."""

from __future__ import annotations

import itertools
import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"optimi|knapsack|backpack|maxim|best|最优|背包|最大"
DIAL = "the choices that are possible"

THINGS = {1: 4, 2: 6, 3: 8, 4: 10, 5: 12}
NAMES = {
    "en": (
        "tent",
        "stove",
        "rope",
        "camera",
        "blanket",
        "lamp",
        "map case",
        "water bag",
        "axe",
        "radio",
        "first-aid kit",
        "telescope",
    ),
    "zh": ("帐篷", "炉子", "绳索", "相机", "毯子", "灯", "地图夹", "水袋", "斧头", "收音机", "急救包", "望远镜"),
}


def draw(rng: random.Random, level: int) -> Problem:
    """Things for which taking the best by value per weight is wrong, and one pair that does not go together."""
    while True:
        things = [[rng.randint(2, 15), rng.randint(5, 40)] for _ in range(THINGS[level])]
        pair = sorted(rng.sample(range(len(things)), 2))
        problem = {"things": things, "limit": sum(weight for weight, _ in things) // 2, "apart": pair}
        if _greedy(problem) < solve(problem):
            return problem


def _greedy(problem: Problem) -> int:
    left, value, taken = problem["limit"], 0, set[int]()
    things = problem["things"]
    for place in sorted(range(len(things)), key=lambda place: -things[place][1] / things[place][0]):
        if (things[place][0] <= left and not taken & (set(problem["apart"]) - {place})) or (
            things[place][0] <= left and place not in problem["apart"]
        ):
            left, value = left - things[place][0], value + things[place][1]
            taken.add(place)
    return value


def solve(problem: Problem) -> int:
    """The better of two: without the one of the pair, and without the other."""
    found = []
    for missing in problem["apart"]:
        best = [0] * (problem["limit"] + 1)
        for place, (weight, value) in enumerate(problem["things"]):
            if place != missing:
                for room in range(problem["limit"], weight - 1, -1):
                    best[room] = max(best[room], best[room - weight] + value)
        found.append(best[-1])
    return max(found)


def verify(problem: Problem) -> int | None:
    """Every choice."""
    things, (one, other) = problem["things"], problem["apart"]
    best = 0
    for choice in itertools.product((0, 1), repeat=len(things)):
        weight = sum(taken * thing[0] for taken, thing in zip(choice, things, strict=True))
        if weight <= problem["limit"] and not (choice[one] and choice[other]):
            best = max(best, sum(taken * thing[1] for taken, thing in zip(choice, things, strict=True)))
    return best


def effort(problem: Problem) -> float:
    """The choices."""
    return float(2 ** len(problem["things"]))


def slips(problem: Problem) -> list[Any]:
    """Greedy by value per weight; the pair allowed together."""
    best = [0] * (problem["limit"] + 1)
    for weight, value in problem["things"]:
        for room in range(problem["limit"], weight - 1, -1):
            best[room] = max(best[room], best[room - weight] + value)
    return [_greedy(problem), best[-1], solve(problem) + 1]


def say(problem: Problem, language: str) -> str:
    """A hike."""
    names = NAMES[language]
    one, other = (names[place] for place in problem["apart"])
    if language == "zh":
        said = "、".join(
            f"{names[place]}（{weight} 千克，价值 {value}）" for place, (weight, value) in enumerate(problem["things"])
        )
        return (
            f"徒步者的背包最多装 {problem['limit']} 千克，可选物品有：{said}。每件至多带一次，且{one}和{other}不能同时带。"
            "所带物品的总价值最大是多少？"
        )
    said = ", ".join(f"{names[place]} ({weight} kg, value {value})" for place, (weight, value) in enumerate(problem["things"]))
    return (
        f"A hiker can carry at most {problem['limit']} kg and chooses among these things, each at most once: {said}. "
        f"The {one} and the {other} can't both be taken. What is the largest total value that can be carried?"
    )
