"""Circles of beads that no turning makes alike: by Burnside's lemma, proven by writing all of them down."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"necklace|bead|rotation|symmetr|burnside|项链|珠子|旋转|对称"
DIAL = "the circles before any two count as one"

SIZES = {1: (5, 6), 2: (6, 7), 3: (7, 8), 4: (8, 10), 5: (11, 13)}
"""Level → the smallest and the largest number of beads."""


def draw(rng: random.Random, level: int) -> Problem:
    """Beads of two or three colours in given numbers."""
    low, high = SIZES[level]
    while True:
        beads = rng.randint(low, high)
        colours = rng.choice([2, 3]) if beads > 3 else 3
        cuts = sorted(rng.sample(range(1, beads), colours - 1))
        counts = [b - a for a, b in itertools.pairwise([0, *cuts, beads])]
        problem = {"counts": counts, "turned": rng.random() < 0.5, "told": rng.sample(range(6), colours)}
        if solve(problem) > 2 and _arrangements(counts) < 90_000:
            return problem


def _arrangements(counts: list[int]) -> int:
    return math.factorial(sum(counts)) // math.prod(map(math.factorial, counts))


def solve(problem: Problem) -> int:
    """The circles that each turn, and each turning over, leaves as they are."""
    counts = problem["counts"]
    beads = sum(counts)
    fixed = 0
    for turn in range(beads):
        cycles = math.gcd(turn, beads)
        if all(count % (beads // cycles) == 0 for count in counts):
            fixed += _arrangements([count // (beads // cycles) for count in counts])
    if not problem["turned"]:
        return fixed // beads
    for axis in range(beads):
        alone = 1 if beads % 2 else (0 if axis % 2 else 2)
        fixed += _on_axis(counts, alone)
    return fixed // (2 * beads)


def _on_axis(counts: list[int], alone: int) -> int:
    """Arrangements that a mirror keeps, with so many beads on its axis."""
    total = 0
    for own in itertools.product(range(len(counts)), repeat=alone):
        rest = [count - own.count(colour) for colour, count in enumerate(counts)]
        if all(count >= 0 and count % 2 == 0 for count in rest):
            total += _arrangements([count // 2 for count in rest])
    return total


def verify(problem: Problem) -> int | None:
    """Each circle of the beads by its least reading."""
    least: set[str] = set()
    words = {""}
    counts = problem["counts"]
    for _ in range(sum(counts)):
        words = {w + "abc"[c] for w in words for c in range(len(counts)) if w.count("abc"[c]) < counts[c]}
    for word in words:
        readings = [word[place:] + word[:place] for place in range(len(word))]
        if problem["turned"]:
            readings += [reading[::-1] for reading in readings]
        least.add(min(readings))
    return len(least)


def effort(problem: Problem) -> float:
    """The circles."""
    return float(_arrangements(problem["counts"]))


def slips(problem: Problem) -> list[Any]:
    """Rows in place of circles; turning over taken the other way."""
    return [_arrangements(problem["counts"]), solve({**problem, "turned": not problem["turned"]})]


COLOURS = {"en": ("red", "blue", "green", "white", "black", "amber"), "zh": ("红", "蓝", "绿", "白", "黑", "黄")}


def say(problem: Problem, language: str) -> str:
    """A necklace, or a ring of lamps on a wall."""
    colours = [COLOURS[language][place] for place in problem["told"]]
    if language == "zh":
        beads = "、".join(f"{count} 颗{colour}珠" for count, colour in zip(problem["counts"], colours, strict=True))
        same = "旋转或翻面后相同的两种算同一种" if problem["turned"] else "旋转后相同的算同一种，翻面不算"
        return f"把 {beads}全部串成一圈，除颜色外珠子没有区别。{same}。共有多少种不同的串法？"
    beads = ", ".join(f"{count} {colour}" for count, colour in zip(problem["counts"], colours, strict=True))
    same = (
        "Two necklaces count as the same if one becomes the other by turning it in its plane or by turning it over."
        if problem["turned"]
        else "The ring is fixed to a wall: two rings count as the same if one becomes the other by rotating it; it cannot be "
        "turned over."
    )
    return (
        f"All of these beads are put on one ring: {beads}. Beads of one colour look alike. {same} How many "
        f"different rings are there?"
    )
