"""The chance to reach a goal before ruin: by the closed form, proven by solving the equations of all states."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "fraction"
TOPIC = r"probab|chance|random walk|markov|ruin|gambl|概率|几率|随机游走|马尔可夫|赌徒"
DIAL = "the states between the two ends"

GOALS = {1: (3, 4), 2: (5, 5), 3: (6, 6), 4: (7, 8), 5: (9, 11)}


def draw(rng: random.Random, level: int) -> Problem:
    """A chance per round that is not a half, and a start between the ends."""
    goal = rng.randint(*GOALS[level])
    while True:
        bottom = rng.randint(3, 12)
        top = rng.randint(1, bottom - 1)
        chance = Fraction(top, bottom)
        if chance != Fraction(1, 2):
            state = {"goal": goal, "start": rng.randint(1, goal - 1), "floor": rng.randint(0, 9)}
            return {"up": [chance.numerator, chance.denominator], **state}


def solve(problem: Problem) -> str:
    """(1 - r^k) / (1 - r^n), where r is the odds against."""
    up = Fraction(*problem["up"])
    odds = (1 - up) / up
    return str((1 - odds ** problem["start"]) / (1 - odds ** problem["goal"]))


def verify(problem: Problem) -> str | None:
    """From each state up or down: one linear equation a state, eliminated from below."""
    up = Fraction(*problem["up"])
    slopes = [Fraction(0)]  # chance(k) = slope(k) · chance(k + 1)
    for _ in range(1, problem["goal"]):
        slopes.append(up / (1 - (1 - up) * slopes[-1]))
    chance = Fraction(1)
    for state in range(problem["goal"] - 1, problem["start"] - 1, -1):
        chance *= slopes[state]
    return str(chance)


def effort(problem: Problem) -> float:
    """The states."""
    return float(problem["goal"] - 1)


def slips(problem: Problem) -> list[Any]:
    """Ruin in place of the goal; a fair game; the odds upside down."""
    up = Fraction(*problem["up"])
    turned = {**problem, "up": [(1 - up).numerator, (1 - up).denominator]}
    return [str(1 - Fraction(solve(problem))), str(Fraction(problem["start"], problem["goal"])), solve(turned)]


def say(problem: Problem, language: str) -> str:
    """A game with tokens."""
    up = Fraction(*problem["up"])
    start, goal, floor = (problem["floor"] + problem[name] if name else problem["floor"] for name in ("start", "goal", ""))
    if language == "zh":
        return (
            f"某游戏每轮以 {up} 的概率赢得 1 枚筹码，否则输掉 1 枚，各轮相互独立。玩家开始时有 {start} 枚筹码，"
            f"筹码达到 {goal} 枚或"
            f"{f'降到 {floor} 枚' if floor else '输光'}时停止。求他以 {goal} 枚筹码结束的概率，用最简分数作答。"
        )
    tokens = "1 token" if start == 1 else f"{start} tokens"
    return (
        f"In each round of a game a player wins 1 token with probability {up} and loses 1 otherwise, independently of "
        "the other rounds. "
        f"She begins with {tokens} and stops when she has {goal} or {f'only {floor}' if floor else 'none'}. What is the "
        f"probability that she ends with {goal}? "
        "Give a fraction in lowest terms."
    )
