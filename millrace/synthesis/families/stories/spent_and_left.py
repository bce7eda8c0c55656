"""Money spent part by part, told from the start and asked from the end: worked backwards, proven by two trial amounts."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

from millrace.synthesis.families.contract import Problem
from millrace.synthesis.families.words import PEOPLE

ANSWER_TYPE = "integer"
TOPIC = r"word problem|story|money|spent|fraction|equation|backward|应用题|钱|花费|分数|方程|倒推"
DIAL = "the steps of the story"

STEPS = {1: 2, 2: 3, 3: 4, 4: 5, 5: 6}
DEEDS = {
    "en": {
        "part": "{who} spends {part} of {all} on {what}",
        "sum": "{who} pays {sum} euros for {what}",
        "gift": "{who} is given {sum} euros by {giver}",
    },
    "zh": {
        "part": "{who}把{all}的 {part} 花在{what}上",
        "sum": "{who}花 {sum} 元买{what}",
        "gift": "{who}从{giver}那里得到 {sum} 元",
    },
}
THINGS = {
    "en": ("books", "a train ticket", "dinner", "a concert ticket", "shoes", "repairs", "a gift"),
    "zh": ("书", "火车票", "晚餐", "音乐会门票", "鞋子", "维修", "礼物"),
}
GIVERS = {"en": ("an aunt", "a neighbour", "a friend"), "zh": ("姑姑", "邻居", "朋友")}


def draw(rng: random.Random, level: int) -> Problem:
    """Steps drawn from the end, so that every amount on the way is a whole number."""
    while True:
        left = rng.randint(6, 60)
        amount: Fraction | int = left
        steps: list[list[Any]] = []
        for _ in range(STEPS[level]):
            kind = rng.choice(["part", "part", "sum", "gift"]) if steps and steps[0][0] != "part" else rng.choice(["part", "sum"])
            if kind == "part":
                part = Fraction(*rng.choice([(1, 2), (1, 3), (1, 4), (2, 3), (2, 5), (3, 4), (1, 5), (3, 5)]))
                amount = amount / (1 - part)
                steps.insert(0, ["part", part.numerator, part.denominator])
            else:
                by = rng.randint(4, 40)
                amount = amount + by if kind == "sum" else amount - by
                steps.insert(0, [kind, by])
            if Fraction(amount).denominator != 1 or not 0 < amount < 5_000:
                break
            amount = int(amount)
        else:
            if sum(step[0] == "part" for step in steps) * 2 >= len(steps) - 1 and amount != left:
                people = rng.randrange(len(PEOPLE["en"]))
                return {
                    "who": people,
                    "steps": steps,
                    "left": left,
                    "things": rng.sample(range(7), len(steps)),
                    "giver": rng.randrange(3),
                }


def solve(problem: Problem) -> int:
    """From the end to the start."""
    amount = Fraction(problem["left"])
    for kind, *numbers in reversed(problem["steps"]):
        if kind == "part":
            amount = amount * numbers[1] / (numbers[1] - numbers[0])
        else:
            amount += numbers[0] if kind == "sum" else -numbers[0]
    return int(amount)


def verify(problem: Problem) -> int | None:
    """What is left is linear in the first amount: played forwards with two amounts, and the line met with what is left."""

    def played(amount: Fraction) -> Fraction:
        for step in problem["steps"]:
            if step[0] == "part":
                amount -= amount * step[1] / step[2]
            elif step[0] == "sum":
                amount -= step[1]
            else:
                amount += step[1]
        return amount

    none, thousand = played(Fraction(0)), played(Fraction(1000))
    first = (problem["left"] - none) * 1000 / (thousand - none)
    return int(first) if first.denominator == 1 and played(first) == problem["left"] else None


def effort(problem: Problem) -> float:
    """The steps."""
    return float(len(problem["steps"]))


def slips(problem: Problem) -> list[Any]:
    """The part taken of what is left after the step; a payment with the sign turned."""
    wrong = Fraction(problem["left"])
    for kind, *numbers in reversed(problem["steps"]):
        wrong = wrong * (numbers[1] + numbers[0]) / numbers[1] if kind == "part" else wrong + numbers[0]
    return [int(wrong), solve(problem) + 10, problem["left"]]


def say(problem: Problem, language: str) -> str:
    """The steps in their order."""
    who = PEOPLE[language][problem["who"]]
    said: list[str] = []
    whole = {"en": ("it", "what is left"), "zh": ("这些钱", "剩下的钱")}[language]
    for (kind, *numbers), thing in zip(problem["steps"], problem["things"], strict=True):
        words = {
            "all": whole[bool(said)],
            "who": who,
            "what": THINGS[language][thing],
            "giver": GIVERS[language][problem["giver"]],
        }
        part = {"part": f"{numbers[0]}/{numbers[1]}"} if kind == "part" else {"sum": numbers[0]}
        said.append(DEEDS[language][kind].format(**words, **part))
    if language == "zh":
        return f"{who}带着一些钱出门。首先，{'；接着，'.join(said)}。最后{who}还剩 {problem['left']} 元。{who}出门时带了多少元？"
    return (
        f"{who} leaves home with some money. First, {'. Then '.join(said)}. In the end, {who} has {problem['left']} euros. "
        f"How many euros did {who} have when leaving home?"
    )
