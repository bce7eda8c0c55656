"""How often the innermost line of nested loops runs: by running the code, proven by adding up what each loop does."""

from __future__ import annotations

import random
from typing import Any

from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"complexity|loop|how often|iterations|复杂度|循环|执行次数"
DIAL = "how often the innermost condition is looked at"

SIZES = {1: (1, 0, 40), 2: (2, 0, 22), 3: (2, 1, 22), 4: (3, 1, 18), 5: (3, 2, 15)}
"""Level → loops that depend on the one around them, loops that do not, and how far the first goes, about."""
KINDS = ("below", "above", "doubling", "steps")


def draw(rng: random.Random, level: int) -> Problem:
    """Loops, each within the one before; the first runs over a whole range."""
    dependent, free, about = SIZES[level]
    while True:
        kinds = ["full", *(rng.choice(KINDS) for _ in range(dependent)), *("full" for _ in range(free))]
        numbered = [[kind, rng.randint(2, 5) if kind in ("doubling", "steps") or (kind == "full" and place) else 0]
                    for place, kind in enumerate(kinds)]  # fmt: skip
        problem = {"n": rng.randint(about - about // 4, about + about // 4), "loops": numbered, "skip": rng.randint(3, 7)}
        if solve(problem) >= 12:
            return problem


def code_of(problem: Problem) -> str:
    """The program."""
    lines, names = [f"n = {problem['n']}", "count = 0"], "ijkmop"
    for depth, (kind, number) in enumerate(problem["loops"]):
        name, outer = names[depth], names[depth - 1] if depth else ""
        pad = "    " * depth
        if kind == "doubling":
            lines += [f"{pad}{name} = 1", f"{pad}while {name} <= {outer} + {number}:"]
        else:
            said = {
                "full": f"range(1, n + 1, {number})" if depth else "range(1, n + 1)",
                "below": f"range({outer})",
                "above": f"range({outer}, n)",
                "steps": f"range(0, {outer}, {number})",
            }[kind]
            lines.append(f"{pad}for {name} in {said}:")
    depth = len(problem["loops"])
    lines += [f"{'    ' * depth}if {names[depth - 1]} % {problem['skip']} != 0:", f"{'    ' * (depth + 1)}count += 1"]
    for back in range(depth - 1, -1, -1):
        if problem["loops"][back][0] == "doubling":
            lines.append(f"{'    ' * (back + 1)}{names[back]} *= 2")
    return "\n".join([*lines, "print(count)"])


def solve(problem: Problem) -> int:
    """The program, run; it is built of this family's own parts and imports nothing."""
    names: dict[str, Any] = {}
    exec(code_of(problem).removesuffix("\nprint(count)"), {"__builtins__": {"range": range}}, names)  # noqa: S102 - see above
    return int(names["count"])


def verify(problem: Problem) -> int | None:
    """How many times each loop takes each value, from the outermost inwards; no line of the program is looked at."""
    n = problem["n"]
    times: dict[int, int] = {0: 1}
    for depth, (kind, number) in enumerate(problem["loops"]):
        after: dict[int, int] = {}
        for outer, often in times.items():
            if kind == "full":
                values = [1 + number * k for k in range((n - 1) // number + 1)] if depth else [k + 1 for k in range(n)]
            elif kind == "below":
                values = list(range(max(0, outer)))
            elif kind == "above":
                values = [outer + k for k in range(max(0, n - outer))]
            elif kind == "steps":
                values = [number * k for k in range(-(-outer // number))]
            else:
                values = [2**k for k in range((outer + number).bit_length())]
            for value in values:
                after[value] = after.get(value, 0) + often
        times = after
    return sum(often for value, often in times.items() if value % problem["skip"])


def effort(problem: Problem) -> float:
    """How often the innermost condition is looked at."""
    return float(solve({**problem, "skip": 10**9}))


def slips(problem: Problem) -> list[Any]:
    """The condition forgotten; every loop taken as whole."""
    free = solve({**problem, "skip": 10**9})
    return [free, problem["n"] ** len(problem["loops"])]


def say(problem: Problem, language: str) -> str:
    """The code."""
    asked = "下面的 Python 程序输出什么？" if language == "zh" else "What does this Python program print?"
    return f"{asked}\n\n```python\n{code_of(problem)}\n```"
