"""Who tells the truth: by trying every assignment, proven by following assumptions until they contradict each other."""

from __future__ import annotations

import itertools
import random
from typing import Any

from millrace.synthesis.families.contract import Problem
from millrace.synthesis.families.words import PEOPLE, some

ANSWER_TYPE = "set"
TOPIC = r"logic|puzzle|truth|liar|knight|knave|逻辑|谜题|真话|说谎|骑士"
DIAL = "the assignments of truth and lie that are possible"

SIZES = {1: 3, 2: 4, 3: 5, 4: 6, 5: 7}
KINDS = ("liar", "honest", "same", "different", "either", "count")
"""What a statement says: b lies; b is honest; b and c are alike; b and c are not; b lies or c is honest; exactly b are honest."""


def draw(rng: random.Random, level: int) -> Problem:
    """One statement each, with one assignment that fits: at least one of each sort, and not all statements of one kind."""
    people = SIZES[level]
    while True:
        statements = []
        for speaker in range(people):
            b, c = rng.sample([who for who in range(people) if who != speaker], 2)
            kind = rng.choices(KINDS, (2, 1, 2, 2, 2, 1))[0]
            statements.append([kind, rng.randint(1, people - 1) if kind == "count" else b, c])
        problem = {"who": some(rng, people), "statements": statements}
        fits = [honest for honest in itertools.product((True, False), repeat=people) if _fits(statements, honest)]
        if len(fits) == 1 and 0 < sum(fits[0]) < people and len({kind for kind, _, _ in statements}) > 1:
            return problem


def _true(kind: str, b: int, c: int, honest: tuple[bool, ...]) -> bool:
    return {
        "liar": lambda: not honest[b],
        "honest": lambda: honest[b],
        "same": lambda: honest[b] == honest[c],
        "different": lambda: honest[b] != honest[c],
        "either": lambda: not honest[b] or honest[c],
        "count": lambda: sum(honest) == b,
    }[kind]()


def _fits(statements: list[list[Any]], honest: tuple[bool, ...]) -> bool:
    return all(_true(kind, b, c, honest) == told for (kind, b, c), told in zip(statements, honest, strict=True))


def solve(problem: Problem) -> str:
    """Every assignment."""
    statements = problem["statements"]
    (honest,) = (found for found in itertools.product((True, False), repeat=len(statements)) if _fits(statements, found))
    return ", ".join(PEOPLE["en"][who] for who, told in zip(problem["who"], honest, strict=True) if told)


def verify(problem: Problem) -> str | None:
    """One person after the other is assumed honest or lying; a statement is looked at as soon as all that it needs is assumed."""
    statements, count = problem["statements"], len(problem["statements"])
    found: list[list[int]] = []

    def holds(speaker: int, assumed: list[int]) -> bool:
        kind, b, c = statements[speaker]
        known = len(assumed)
        if kind == "count":
            honest, left = sum(assumed), count - known
            if not left:
                return bool((honest == b) == bool(assumed[speaker]))
            return bool(not assumed[speaker] or honest <= b <= honest + left)
        needs = (speaker, b) if kind in ("liar", "honest") else (speaker, b, c)
        if max(needs) >= known:
            return True
        one, other = assumed[b], assumed[c] if c < known else 0
        alike = 1 - (one ^ other)
        says = {"liar": 1 - one, "honest": one, "same": alike, "different": 1 - alike, "either": (1 - one) | other}[kind]
        return bool(says == assumed[speaker])

    def assume(assumed: list[int]) -> None:
        if all(holds(speaker, assumed) for speaker in range(len(assumed))):
            if len(assumed) == count:
                found.append(assumed)
                return
            for value in (1, 0):
                assume([*assumed, value])

    assume([])
    if len(found) != 1:
        return None
    return ", ".join(PEOPLE["en"][who] for who, told in zip(problem["who"], found[0], strict=True) if told)


def effort(problem: Problem) -> float:
    """The assignments."""
    return float(2 ** len(problem["statements"]))


def slips(problem: Problem) -> list[Any]:
    """The liars; all of them; one too few."""
    honest = solve(problem).split(", ")
    names = [PEOPLE["en"][who] for who in problem["who"]]
    return [", ".join(name for name in names if name not in honest), ", ".join(names), ", ".join(honest[1:])]


def say(problem: Problem, language: str) -> str:
    """A club; the names are Latin in both languages, so that an answer is one text."""
    names = [PEOPLE["en"][who] for who in problem["who"]]
    said = []
    for speaker, (kind, b, c) in enumerate(problem["statements"]):
        one, other = names[b] if kind != "count" else "", names[c]
        if language == "zh":
            text = {
                "liar": f"{one} 说假话", "honest": f"{one} 说真话", "same": f"{one} 和 {other} 是同一类人",
                "different": f"{one} 和 {other} 不是同一类人", "either": (f"{one} 说假话，或者 {other} "
"说真话（也可能都成立）"), "count": f"我们当中恰有 {b} 人说真话",
            }[kind]  # fmt: skip
            said.append(f"{names[speaker]} 说：“{text}。”")
        else:
            text = {
                "liar": f"{one} is a liar", "honest": f"{one} is a truth-teller",
                "same": f"{one} and {other} are of the same kind",
                "different": f"{one} and {other} are of different kinds", "either": (f"{one} is a liar or {other} "
"is a truth-teller (or both)"),
                "count": f"Exactly {b} of us {'is a truth-teller' if b == 1 else 'are truth-tellers'}",
            }[kind]  # fmt: skip
            said.append(f'{names[speaker]} says: "{text}."')
    if language == "zh":
        return f"{'、'.join(names)} 每人要么总说真话，要么总说假话。{''.join(said)}哪些人说真话？请列出他们的名字，用逗号分隔。"
    return (
        f"Each of {', '.join(names[:-1])} and {names[-1]} either always tells the truth or always lies. {' '.join(said)} "
        "Who tells the truth? List the names, separated by commas."
    )
