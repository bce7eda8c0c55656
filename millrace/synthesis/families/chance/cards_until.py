"""How long one waits for cards drawn without putting back: by symmetry of the gaps, proven card by card."""

from __future__ import annotations

import random
from fractions import Fraction
from functools import cache
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "fraction"
TOPIC = r"expected|expectation|waiting|期望|等待|平均次数"
DIAL = "the states that a draw can lead to"

SIZES = {1: (2, 9, 1), 2: (2, 20, 1), 3: (3, 26, 2), 4: (3, 36, 3), 5: (4, 52, 4)}
"""Level → winning tickets at least, all tickets about, how many winners are waited for at most."""


def draw(rng: random.Random, level: int) -> Problem:
    """Tickets in a box, and what is counted."""
    low, about, most = SIZES[level]
    tickets = rng.randint(about, 2 * about)
    winning = rng.randint(low, low + 4)
    return {
        "tickets": tickets,
        "winning": winning,
        "wanted": rng.randint(max(1, most - 1), most),
        "ask": rng.choice(["draws", "blanks"]),
        "told": rng.randrange(2),
    }


def solve(problem: Problem) -> str:
    """The blanks lie in equal shares before, between and after the winners."""
    gap = Fraction(problem["tickets"] - problem["winning"], problem["winning"] + 1)
    return str(problem["wanted"] * (gap + (problem["ask"] == "draws")))


def verify(problem: Problem) -> str | None:
    """The mean from each state of the box, from the last states backwards."""

    @cache
    def left(winning: int, blank: int, wanted: int) -> Fraction:
        if wanted == 0:
            return Fraction(0)
        all_ = winning + blank
        mean: Fraction = Fraction(winning, all_) * (left(winning - 1, blank, wanted - 1) + (problem["ask"] == "draws"))
        return mean + (Fraction(blank, all_) * (left(winning, blank - 1, wanted) + 1) if blank else 0)

    return str(left(problem["winning"], problem["tickets"] - problem["winning"], problem["wanted"]))


def effort(problem: Problem) -> float:
    """The states."""
    return float((problem["tickets"] - problem["winning"] + 1) * problem["wanted"])


def slips(problem: Problem) -> list[Any]:
    """As if each ticket were put back; the middle of the box."""
    back = Fraction(problem["tickets"], problem["winning"]) * problem["wanted"]
    return [str(back - (problem["ask"] != "draws") * problem["wanted"]), str(Fraction(problem["tickets"] + 1, 2))]


def say(problem: Problem, language: str) -> str:
    """Tickets of a raffle, or keys on a ring."""
    tickets, winning, wanted = problem["tickets"], problem["winning"], problem["wanted"]
    if language == "zh":
        thing, good, bad = (("券", "有奖", "无奖"), ("卡片", "有标记", "无标记"))[problem["told"]]
        until = f"第 {wanted} 张{good}的" if wanted > 1 else f"第一张{good}的"
        what = "平均要抽多少张（含最后一张）" if problem["ask"] == "draws" else f"在此之前平均抽到多少张{bad}的"
        return (
            f"箱中有 {tickets} 张{thing}，其中 {winning} 张{good}。一张一张随机抽出，不放回，直到抽到{until}为止。"
            f"{what}？请用最简分数或整数作答。"
        )
    until = {1: "first", 2: "second", 3: "third", 4: "fourth"}[wanted]
    what = (
        "What is the expected number of draws, the last one included?"
        if problem["ask"] == "draws"
        else "What is the expected number of blanks drawn before that?"
    )
    thing, good = (("tickets", "win a prize"), ("cards", "are marked"))[problem["told"]]
    end = (f"{until} winning ticket", f"{until} marked card")[problem["told"]]
    what = what if not problem["told"] else what.replace("blanks", "unmarked cards")
    return (
        f"Of the {tickets} {thing} in a box, {winning} {good}. They are drawn at random one by one and not put "
        f"back, until the {end} "
        f"comes up. {what} Answer with a whole number or a fraction in lowest terms."
    )
