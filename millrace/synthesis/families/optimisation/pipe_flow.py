"""The most that a network of pipes carries: by ways that still have room, proven by cutting the network in every way."""

from __future__ import annotations

import itertools
import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"max(?:imum)? flow|pipe|capacity|network flow|最大流|管道|流量"
DIAL = "the ways to cut the network in two"

SIZES = {1: (4, 5), 2: (5, 8), 3: (6, 11), 4: (7, 14), 5: (9, 20)}
"""Level → stations, pipes."""
PLACES = "ABCDEFGHIJ"


def draw(rng: random.Random, level: int) -> Problem:
    """Pipes that lead one way each; the narrowest place is neither at the start nor at the end alone."""
    places, pipes = SIZES[level]
    while True:
        pairs = [(a, b) for a, b in itertools.permutations(range(places), 2) if b != 0 and a != places - 1]
        found = {(min(pair), max(pair)): pair for pair in rng.sample(pairs, len(pairs))}
        if len(found) < pipes:
            continue
        chosen = sorted(rng.sample(sorted(found.values()), pipes))
        problem: Problem = {
            "places": places,
            "pipes": [[a, b, rng.randint(3, 30)] for a, b in chosen],
            "told": rng.randrange(2),
        }
        ends = [sum(c for a, _, c in problem["pipes"] if a == 0), sum(c for _, b, c in problem["pipes"] if b == places - 1)]
        if 0 < solve(problem) < min(ends) or (level == 1 and solve(problem) > 0):
            return problem


def solve(problem: Problem) -> int:
    """Shortest ways with room left, until there is none."""
    last = problem["places"] - 1
    room = {(a, b): 0 for a in range(last + 1) for b in range(last + 1)}
    for a, b, capacity in problem["pipes"]:
        room[a, b] += capacity
    carried = 0
    while True:
        before: dict[int, int] = {0: 0}
        waiting = [0]
        for place in waiting:
            for other in range(last + 1):
                if other not in before and room[place, other] > 0:
                    before[other] = place
                    waiting.append(other)
        if last not in before:
            return carried
        way, place = [], last
        while place:
            way.append((before[place], place))
            place = before[place]
        more = min(room[step] for step in way)
        for a, b in way:
            room[a, b] -= more
            room[b, a] += more
        carried += more


def verify(problem: Problem) -> int | None:
    """The least that leaves any half of the stations with the start and without the end."""
    between = range(1, problem["places"] - 1)
    cuts: list[int] = []
    for size in range(len(between) + 1):
        for chosen in itertools.combinations(between, size):
            half = {0, *chosen}
            cuts.append(sum(capacity for a, b, capacity in problem["pipes"] if a in half and b not in half))
    return min(cuts)


def effort(problem: Problem) -> float:
    """The ways to cut."""
    return float(2 ** (problem["places"] - 2))


def slips(problem: Problem) -> list[Any]:
    """What leaves the start; what reaches the end."""
    last = problem["places"] - 1
    return [sum(c for a, _, c in problem["pipes"] if a == 0), sum(c for _, b, c in problem["pipes"] if b == last)]


def say(problem: Problem, language: str) -> str:
    """Water, or data."""
    end = PLACES[problem["places"] - 1]
    pipes = [f"{PLACES[a]}→{PLACES[b]} {capacity}" for a, b, capacity in problem["pipes"]]
    if language == "zh":
        thing = ("水管，每小时最多通过的立方米数", "数据线路，每秒最多传输的兆字节数")[problem["told"]]
        unit = ("每小时最多能有多少立方米水", "每秒最多能有多少兆字节数据")[problem["told"]]
        return f"各站之间有这些单向{thing}如下：{'，'.join(pipes)}。中间各站不存留。从 A 到 {end} {unit}？"
    if problem["told"]:
        return (
            f"One-way links carry data between stations, each up to so many megabytes a second: "
            f"{', '.join(pipes)}. Stations in between keep "
            f"nothing. How many megabytes a second can get from A to {end} at most?"
        )
    return (
        f"One-way pipes join tanks, each carrying up to so many cubic metres an hour: {', '.join(pipes)}. "
        f"Tanks in between let through what "
        f"they get. How many cubic metres an hour can flow from A to {end} at most?"
    )
