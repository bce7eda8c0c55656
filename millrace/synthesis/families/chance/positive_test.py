"""What a positive result means: by Bayes' rule, proven by counting people in a large enough town."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from typing import Any

from millrace.synthesis.families.contract import Problem
from millrace.synthesis.families.words import listed

ANSWER_TYPE = "fraction"
TOPIC = r"bayes|conditional|test result|diagnos|贝叶斯|条件概率|检测|阳性"
DIAL = "the groups of people that must be told apart"

TESTS = {1: (1, 2), 2: (2, 2), 3: (2, 3), 4: (3, 3), 5: (3, 5)}
"""Level → test results, sorts of parts."""


def draw(rng: random.Random, level: int) -> Problem:
    """Machines with their shares and rates, and inspections that find a fault or do not."""
    tests, sources = TESTS[level]
    while True:
        shares = [rng.randint(1, 19) * 5 for _ in range(sources)]
        if sum(shares) != 100:
            continue
        faulty = [rng.randint(1, 12) for _ in range(sources)]
        return {
            "shares": shares,
            "faulty": faulty,
            "found": [rng.randrange(60, 99) for _ in range(tests)],
            "false": [rng.randint(1, 15) for _ in range(tests)],
            "alarms": [rng.random() < 0.7 or place == 0 for place in range(tests)],
            "asked": rng.choice(["faulty", "source"]) if sources > 2 else "faulty",
        }


def solve(problem: Problem) -> str:
    """Bayes' rule with fractions."""
    hit, miss = Fraction(1), Fraction(1)
    for found, false, alarm in zip(problem["found"], problem["false"], problem["alarms"], strict=True):
        hit *= Fraction(found if alarm else 100 - found, 100)
        miss *= Fraction(false if alarm else 100 - false, 100)
    bad = [Fraction(share * faulty, 10_000) * hit for share, faulty in zip(problem["shares"], problem["faulty"], strict=True)]
    good = [Fraction(s * (100 - f), 10_000) * miss for s, f in zip(problem["shares"], problem["faulty"], strict=True)]
    wanted = sum(bad) if problem["asked"] == "faulty" else bad[0] + good[0]
    return str(wanted / (sum(bad) + sum(good)))


def verify(problem: Problem) -> str | None:
    """Parts counted, machine by machine and inspection by inspection, out of a power of a hundred."""
    tests = len(problem["found"])
    wanted = alarmed = 0
    for place, (share, faulty) in enumerate(zip(problem["shares"], problem["faulty"], strict=True)):
        for is_faulty, parts in ((True, share * faulty), (False, share * (100 - faulty))):
            rates = problem["found"] if is_faulty else problem["false"]
            count = parts * math.prod(rates[t] if problem["alarms"][t] else 100 - rates[t] for t in range(tests))
            alarmed += count
            wanted += count if (is_faulty if problem["asked"] == "faulty" else place == 0) else 0
    divisor = math.gcd(wanted, alarmed)
    return f"{wanted // divisor}/{alarmed // divisor}"


def effort(problem: Problem) -> float:
    """Sorts of parts times results."""
    return float(2 * len(problem["shares"]) * len(problem["found"]))


def slips(problem: Problem) -> list[Any]:
    """The rate of the inspection taken for the answer; the share of faulty parts before it."""
    before = sum(Fraction(s * f, 10_000) for s, f in zip(problem["shares"], problem["faulty"], strict=True))
    return [str(Fraction(problem["found"][0], 100)), str(before)]


def say(problem: Problem, language: str) -> str:
    """A factory with inspections."""
    if language == "zh":
        machines = "；".join(
            f"机器 {place} 生产全部零件的 {share}%，其中 {faulty}% 有缺陷"
            for place, (share, faulty) in enumerate(zip(problem["shares"], problem["faulty"], strict=True), 1)
        )
        tests = "；".join(
            f"检验 {place} 对有缺陷的零件报警的概率为 {found}%，对完好的零件报警的概率为 {false}%"
            for place, (found, false) in enumerate(zip(problem["found"], problem["false"], strict=True), 1)
        )
        seen = "，".join(f"检验 {place} {'报警' if alarm else '不报警'}" for place, alarm in enumerate(problem["alarms"], 1))
        asked = "它有缺陷的概率" if problem["asked"] == "faulty" else "它由机器 1 生产的概率"
        return (
            f"{machines}。{tests}。对一个给定的零件，各次检验的结果相互独立。随机抽取一个零件：{seen}。"
            f"{asked}是多少？请用最简分数作答。"
        )
    machines = " ".join(
        f"Machine {place} makes {share}% of all parts, and {faulty}% of its parts are faulty."
        for place, (share, faulty) in enumerate(zip(problem["shares"], problem["faulty"], strict=True), 1)
    )
    tests = " ".join(
        f"Inspection {place} raises an alarm for {found}% of faulty parts and for {false}% of good ones."
        for place, (found, false) in enumerate(zip(problem["found"], problem["false"], strict=True), 1)
    )
    alarms = [f"inspection {place} raises {'an' if alarm else 'no'} alarm" for place, alarm in enumerate(problem["alarms"], 1)]
    seen = listed(alarms, language)
    asked = "that it is faulty" if problem["asked"] == "faulty" else "that machine 1 made it"
    apart = " For a given part, the inspections are independent of each other." if len(problem["found"]) > 1 else ""
    return (
        f"{machines} {tests}{apart} For a part chosen at random, {seen}. What is the probability {asked}? Answer "
        f"with a fraction in lowest terms."
    )
