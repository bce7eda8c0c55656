"""What the families of problems give: how fast, how varied, and whether the dial turns.

    python -m tests.benchmarks.bench_families --seeds 200

For each family: proven problems per hour of one core's time (drawn, solved, verified, said), the mean effort at each level,
the share of problems that were drawn before, the share of the most common answer, and the median similarity of two questions
(Jaccard of word triples). How fast whole items are, with proofs, replays, journals and exports, says
`bench_synthesis overhead --environment families`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import random
import re
import statistics
import time
from collections import Counter
from typing import Any

from millrace.run.ids import canonical
from millrace.synthesis.families.catalogue import load_family, problem_of, rooms
from millrace.synthesis.families.contract import LEVELS

PAIRS = 300
"""Pairs of questions whose similarity is measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200, help="problems at each level")
    options = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{options.seeds} problems a level\n")
    print("| family | proven an hour and core | mean effort at levels 1 to 5 | drawn before | most common answer | similarity |")
    print("|---|---|---|---|---|---|")
    every: list[set[str]] = []
    answers: Counter[str] = Counter()
    spent = made = 0.0
    for name in rooms():
        row, triples, seconds = measured(name, options.seeds, answers)
        every += random.Random(name).sample(triples, min(20, len(triples)))
        spent, made = spent + seconds, made + len(triples)
        print(row, flush=True)
    answer, count = answers.most_common(1)[0]
    print(f"\nall {len(rooms())} families, equally often: {3600 * made / spent:,.0f} proven an hour and core;", end=" ")
    print(f"most common answer {answer}, {count / answers.total():.1%}; similarity {similarity(every):.2f}")


def measured(name: str, seeds: int, answers: Counter[str]) -> tuple[str, list[set[str]], float]:
    """A family's row of the table, its questions as word triples, the seconds of CPU that it took."""
    module = load_family(name)
    problem_of.cache_clear()
    began = time.process_time()
    drawn: list[tuple[int, Any, Any, str]] = []
    for level in LEVELS:
        for seed in range(seeds):
            problem = problem_of(name, level, seed)
            answer = module.solve(problem)
            assert module.verify(problem) == answer, (name, level, seed)
            drawn.append((level, problem, answer, module.say(problem, "en")))
    seconds = time.process_time() - began
    efforts = [statistics.fmean(module.effort(problem) for level, problem, *_ in drawn if level == wanted) for wanted in LEVELS]
    before = 1 - len({canonical(problem) for _, problem, *_ in drawn}) / len(drawn)
    found = Counter(str(answer) for *_, answer, _ in drawn)
    answers.update(found)
    triples = [triples_of(question) for *_, question in drawn]
    dial = " ".join(f"{effort:,.0f}" if effort >= 100 else f"{effort:.3g}" for effort in efforts)
    row = (
        f"| {name} | {3600 * len(drawn) / seconds:,.0f} | {dial} | {before:.1%} | {found.most_common(1)[0][1] / len(drawn):.1%} "
        f"| {similarity(triples):.2f} |"
    )
    return row, triples, seconds


def triples_of(question: str) -> set[str]:
    """Three words in a row; numbers are words."""
    words = re.findall(r"\w+|[^\w\s]", question.lower())
    return {" ".join(words[place : place + 3]) for place in range(len(words) - 2)}


def similarity(questions: list[set[str]]) -> float:
    """The median over some pairs."""
    rng = random.Random(0)
    pairs = itertools.islice(((rng.choice(questions), rng.choice(questions)) for _ in itertools.count()), PAIRS)
    return statistics.median(len(one & other) / len(one | other) for one, other in pairs if one is not other)


if __name__ == "__main__":
    main()
