"""The cheapest cables that connect all, one being laid: by the cheapest first, proven by growing from one place."""

from __future__ import annotations

import itertools
import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"minimum spanning|cheapest network|cable|最小生成树|电缆|布线"
DIAL = "the places times the possible cables"

SIZES = {1: (4, 6), 2: (6, 10), 3: (8, 15), 4: (9, 21), 5: (12, 30)}
"""Level → places, possible cables."""
PLACES = "ABCDEFGHIJKL"


def draw(rng: random.Random, level: int) -> Problem:
    """Possible cables, of which one is laid already and one must not be used."""
    places, cables = SIZES[level]
    while True:
        found = sorted(rng.sample(list(itertools.combinations(range(places), 2)), cables))
        problem: Problem = {
            "places": places,
            "cables": [[a, b, rng.randint(12, 95)] for a, b in found],
            "laid": rng.randrange(cables),
            "told": rng.randrange(2),
        }
        cost = solve(problem)
        if cost and cost != solve({**problem, "laid": None}) - problem["cables"][problem["laid"]][2]:
            return problem


def solve(problem: Problem) -> int:
    """Kruskal, after the cable that is laid; 0 where not everything can be connected."""
    group = list(range(problem["places"]))
    cables = sorted(((cost if place != problem["laid"] else 0), a, b) for place, (a, b, cost) in enumerate(problem["cables"]))
    total = joined = 0
    for cost, a, b in cables:
        if group[a] != group[b]:
            old = group[b]
            group = [group[a] if mine == old else mine for mine in group]
            total, joined = total + cost, joined + 1
    return total if joined == problem["places"] - 1 else 0


def verify(problem: Problem) -> int | None:
    """Prim: from the ends of the laid cable, always the cheapest cable that leads out."""
    a, b, _ = problem["cables"][problem["laid"]]
    reached, total = {a, b}, 0
    while len(reached) < problem["places"]:
        out = [cost for one, other, cost in problem["cables"] if (one in reached) != (other in reached)]
        if not out:
            return None
        cheapest = min(out)
        one, other = next((x, y) for x, y, c in problem["cables"] if c == cheapest and (x in reached) != (y in reached))
        reached |= {one, other}
        total += cheapest
    return total


def effort(problem: Problem) -> float:
    """Places times cables."""
    return float(problem["places"] * len(problem["cables"]))


def slips(problem: Problem) -> list[Any]:
    """The laid cable paid for; not used."""
    cost = problem["cables"][problem["laid"]][2]
    return [solve(problem) + cost, solve({**problem, "laid": None})]


def say(problem: Problem, language: str) -> str:
    """Houses and cables, or wells and pipes."""
    a, b, _ = problem["cables"][problem["laid"]]
    others = [
        f"{PLACES[x]}–{PLACES[y]} {cost}" for place, (x, y, cost) in enumerate(problem["cables"]) if place != problem["laid"]
    ]
    names, laid = PLACES[: problem["places"]], f"{PLACES[a]}–{PLACES[b]}"
    if language == "zh":
        thing, way = (("房屋", "电缆"), ("水井", "水管"))[problem["told"]]
        return (
            f"{len(names)} 处{thing} {'、'.join(names)} 要全部连通。{laid} 之间的{way}已经铺好，不再花钱。"
            f"其余可铺的{way}及费用（千元）为："
            f"{'，'.join(others)}。最少还需多少千元？"
        )
    thing, way = (("houses", "cable"), ("wells", "pipe"))[problem["told"]]
    return (
        f"{len(names)} {thing}, {', '.join(names)}, are to be connected with each other, directly or through "
        f"others. The {way} {laid} is laid already "
        f"and costs nothing more. The other {way}s that can be laid, with their cost in thousands of euros, "
        f"are {', '.join(others)}. What is the "
        f"least that must still be spent, in thousands of euros?"
    )
