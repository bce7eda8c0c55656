"""A tank that several taps fill and empty, opened one after the other: by rates, proven minute by minute in small parts."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "fraction"
TOPIC = r"tank|tap|work rate|fill|水池|水龙头|注水|工程问题"
DIAL = "the taps and the changes"

SIZES = {1: (2, 0), 2: (2, 1), 3: (3, 2), 4: (4, 3), 5: (5, 4)}
"""Level → taps, how often one more is opened later."""


def draw(rng: random.Random, level: int) -> Problem:
    """Taps by the hours each takes alone; a negative number empties. The tank is filled after the last tap was opened."""
    taps, later = SIZES[level]
    while True:
        hours = [rng.choice([2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 16, 18, 20]) for _ in range(taps)]
        if taps > 2:
            hours[rng.randrange(1, taps)] *= -2
        opened = sorted([0] * (taps - later) + [rng.randint(1, 3) for _ in range(later)])
        problem = {"hours": hours, "opened": opened}
        level_then = sum(Fraction(opened[-1] - start, own) for own, start in zip(hours, opened, strict=True))
        rate = sum(Fraction(1, own) for own in hours)
        if 0 <= level_then < 1 and rate > 0 and hours[0] > 0 and (1 - level_then) / rate < 20 and _never_below(problem):
            return problem


def _never_below(problem: Problem) -> bool:
    return all(
        0 <= sum(Fraction(max(0, at - start), own) for own, start in zip(problem["hours"], problem["opened"], strict=True)) < 1
        for at in problem["opened"]
    )


def solve(problem: Problem) -> str:
    """What each tap brings per hour, over the time that it is open: one equation for the time."""
    pairs = list(zip(problem["hours"], problem["opened"], strict=True))
    rate = sum(Fraction(1, own) for own, _ in pairs)
    missed = sum(Fraction(start, own) for own, start in pairs)
    return str((1 + missed) / rate)


def verify(problem: Problem) -> str | None:
    """Stage by stage in parts of the tank that every tap moves in whole numbers."""
    parts = math.lcm(*(abs(own) for own in problem["hours"]))
    full, held, now = parts, 0, 0
    stops = sorted(set(problem["opened"]))
    for place, stop in enumerate(stops):
        held += (stop - now) * sum(
            parts // own if own > 0 else -(parts // -own)
            for own, start in zip(problem["hours"], problem["opened"], strict=True)
            if start < stop
        )
        now = stop
        if not 0 <= held < full:
            return None
        if place == len(stops) - 1:
            step = sum(parts // own if own > 0 else -(parts // -own) for own in problem["hours"])
            return str(Fraction(full - held, step) + now) if step > 0 else None
    return None


def effort(problem: Problem) -> float:
    """Taps and openings."""
    return float(len(problem["hours"]) + len(set(problem["opened"])))


def slips(problem: Problem) -> list[Any]:
    """All open from the start; the hours averaged."""
    rate = sum(Fraction(1, own) for own in problem["hours"])
    return [str(1 / rate), str(Fraction(sum(map(abs, problem["hours"])), len(problem["hours"])))]


def say(problem: Problem, language: str) -> str:
    """Taps and drains of a tank."""
    names = "ABCDE"
    pairs = list(enumerate(zip(problem["hours"], problem["opened"], strict=True)))
    if language == "zh":
        said = "；".join(
            f"{'进' if own > 0 else '排'}水管 {names[place]} 单独{'注满空池' if own > 0 else '排空满池'}需 {abs(own)} 小时，"
            + ("一开始就打开" if start == 0 else f"在 {start} 小时后打开")
            for place, (own, start) in pairs
        )
        return (
            f"一个空水池有这些水管：{said}。水管打开后不再关闭，流量不变。从开始算起，多少小时后水池注满？"
            f"请用最简分数或整数作答。"
        )
    said = " ".join(
        f"{'Tap' if own > 0 else 'Drain'} {names[place]} alone "
        f"{'fills the empty' if own > 0 else 'empties the full'} tank in {abs(own)} hours and is "
        + ("open from the start." if start == 0 else f"opened after {start} hour{'s' * (start > 1)}.")
        for place, (own, start) in pairs
    )
    return (
        f"A tank is empty at the start. {said} Once open, each stays open, and its rate does not change. How "
        f"many hours after the start is the tank "
        "full? Answer with a whole number or a fraction in lowest terms."
    )
