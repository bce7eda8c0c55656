"""What a program prints: found by Python, proven by an interpreter of our own that goes from statement to statement."""

from __future__ import annotations

import contextlib
import io
import random
from typing import Any

from millrace.synthesis.families.code._interpreter import Machine
from millrace.synthesis.families.contract import Problem

ANSWER_TYPE = "integer"
TOPIC = r"python|code|program|output|predict|trace|代码|程序|输出|运行结果"
DIAL = "the statements that are executed"

STATEMENTS = {1: (12, 25), 2: (26, 45), 3: (46, 75), 4: (76, 120), 5: (121, 200)}

TILLS = """queue = {numbers}
busy = [0] * {k}
waited = 0
for minutes in queue:
    first = 0
    for till in range(1, {k}):
        if busy[till] < busy[first]:
            first = till
    waited += busy[first]
    busy[first] += minutes
    if busy[first] > {a}:
        busy[first] -= {b}
print(waited + max(busy))"""

STACK = """stack = []
dropped = 0
for value in {numbers}:
    while stack and stack[len(stack) - 1] < value:
        dropped += stack.pop()
    if len(stack) == {k}:
        dropped += {a}
        stack.pop(0)
    stack.append(value)
print(dropped * {b} - sum(stack))"""

COUNTS = """seen = {{}}
score = 0
for place in range({n}):
    value = (place * place + {a} * place + {b}) % {m}
    seen[value] = seen.get(value, 0) + 1
    if seen[value] == {k}:
        score += value
        seen[value] = 0
    elif value % 2 == 0:
        score -= 1
print(score)"""

ALIASES = """rows = [{numbers}, [{a}, {b}]]
first = rows[0]
rows.append(first)
total = 0
for step in range({n}):
    rows[step % 3].append(step + {k})
    if len(first) > {m}:
        total += first.pop(0)
    else:
        total += rows[1][len(rows[1]) - 1]
print(total + len(rows[2]))"""

SEARCH = """numbers = sorted({numbers})
low = 0
high = len(numbers) - 1
probes = 0
for target in {targets}:
    low = 0
    high = len(numbers) - 1
    while low <= high:
        middle = (low + high) // 2
        probes += 1
        if numbers[middle] == target:
            low = high + 1
        elif numbers[middle] < target:
            low = middle + 1
        else:
            high = middle - 1
            probes += {k}
print(probes * {a} + low - high)"""

PROGRAMS = (TILLS, STACK, COUNTS, ALIASES, SEARCH)


def draw(rng: random.Random, level: int) -> Problem:
    """One of the programs with constants of its own, as long as the level asks, that prints something."""
    low, high = STATEMENTS[level]
    while True:
        source = rng.choice(PROGRAMS)
        length = rng.randint(2, 5 + 6 * level)
        numbers = [rng.randint(1, 20) for _ in range(length)]
        words = {"numbers": numbers, "targets": rng.sample(range(1, 21), min(length, 12) // 2 + 1),
                 "n": rng.randint(3, 8 + 8 * level),
                 "k": rng.randint(2, 4), "a": rng.randint(2, 15), "b": rng.randint(2, 9), "m": rng.randint(5, 11)}  # fmt: skip
        problem = {"source": source.format(**words)}
        statements = _executed(problem["source"])
        if low <= statements <= high and abs(solve(problem)) > 1:
            return problem


def _executed(source: str) -> int:
    try:
        return Machine(source).statements
    except (IndexError, ValueError):
        return 0


def solve(problem: Problem) -> int:
    """Python runs it; the program is one of ours, with numbers put in."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(problem["source"], "<problem>", "exec"), {})  # noqa: S102 - written above, not by a model or a user
    return int(printed.getvalue())


def verify(problem: Problem) -> int | None:
    """Statement by statement."""
    printed = Machine(problem["source"]).printed
    return int(printed[0]) if len(printed) == 1 else None


def effort(problem: Problem) -> float:
    """The statements executed."""
    return float(Machine(problem["source"]).statements)


def slips(problem: Problem) -> list[Any]:
    """One more, one less; the sign turned."""
    right = solve(problem)
    return [right + 1, right - 1, -right]


def say(problem: Problem, language: str) -> str:
    """The program as it is."""
    if language == "zh":
        return f"下面的 Python 程序输出什么？\n\n```python\n{problem['source']}\n```"
    return f"What does this Python program print?\n\n```python\n{problem['source']}\n```"
