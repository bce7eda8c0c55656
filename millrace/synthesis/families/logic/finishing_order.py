"""Who finished where: by trying every order, proven by placing one runner after the other."""

from __future__ import annotations

import random
from typing import Any

from millrace.synthesis.families.contract import Problem
from millrace.synthesis.families.words import PEOPLE, some

ANSWER_TYPE = "list"
TOPIC = r"logic|puzzle|order|rank|race|deduc|逻辑|谜题|排序|名次|推理"
DIAL = "the orders that are possible"

RUNNERS = {1: 4, 2: 5, 3: 6, 4: 7, 5: 8}


def draw(rng: random.Random, level: int) -> Problem:
    """Clues that fit one order; at most one for each runner, unless every one of them is needed."""
    count = RUNNERS[level]
    order = rng.sample(range(count), count)
    clues: list[list[Any]] = []
    while not _only_one(count, clues):
        clue = _clue(rng, order)
        if clue not in clues:
            clues.append(clue)
    for clue in list(clues):
        if len(clues) <= count:
            break
        fewer = [other for other in clues if other is not clue]
        if _only_one(count, fewer):
            clues = fewer
    return {"who": some(rng, count), "clues": clues}


def _clue(rng: random.Random, order: list[int]) -> list[Any]:
    a, b, c = rng.sample(order, 3)
    places = {who: order.index(who) for who in order}
    kind = rng.choice(["before", "next", "apart", "not_place", "between", "gap"])
    if kind == "before" and places[a] > places[b]:
        a, b = b, a
    if kind == "next":
        place = rng.randrange(len(order) - 1)
        a, b = order[place], order[place + 1]
    if kind == "apart" and abs(places[a] - places[b]) == 1:
        kind = "gap"
    if kind == "not_place":
        return [kind, a, rng.choice([place for place in range(len(order)) if place != places[a]])]
    if kind == "between":
        a, b, c = sorted((a, b, c), key=places.__getitem__)
        return [kind, b, *sorted((a, c))]
    if kind == "gap":
        if places[a] > places[b]:
            a, b = b, a
        return ["next", a, b] if places[b] - places[a] == 1 else [kind, a, b, places[b] - places[a]]
    return [kind, a, b]


def _holds(clue: list[Any], place: Any) -> bool:
    kind, a = clue[0], place(clue[1])
    if kind == "not_place":
        return bool(a != clue[2])
    b = place(clue[2])
    if kind == "between":
        return bool(min(b, place(clue[3])) < a < max(b, place(clue[3])))
    if kind == "before":
        return bool(a < b)
    if kind == "gap":
        return bool(b - a == clue[3])
    return bool(b - a == 1 if kind == "next" else abs(a - b) > 1)


def _orders(count: int, clues: list[list[Any]]) -> list[list[int]]:
    """Up to two orders that fit, from the first place on; a clue is looked at when the last of its runners gets a place."""
    found: list[list[int]] = []
    of: list[list[tuple[list[Any], list[int]]]] = [[] for _ in range(count)]
    for clue in clues:
        runners = clue[1:2] if clue[0] == "not_place" else clue[1:4] if clue[0] == "between" else clue[1:3]
        for runner in runners:
            of[runner].append((clue, runners))
    where = [-1] * count

    def place_next(placed: list[int]) -> None:
        if len(placed) == count:
            found.append(placed)
            return
        for runner in range(count):
            if where[runner] < 0 and len(found) < 2:
                where[runner] = len(placed)
                if all(
                    _holds(clue, where.__getitem__) for clue, runners in of[runner] if all(where[other] >= 0 for other in runners)
                ):
                    place_next([*placed, runner])
                where[runner] = -1

    place_next([])
    return found


def _only_one(count: int, clues: list[list[Any]]) -> bool:
    return len(_orders(count, clues)) == 1


def solve(problem: Problem) -> str:
    """One runner after the other, as long as the clues hold."""
    (order,) = _orders(len(problem["who"]), problem["clues"])
    return ", ".join(PEOPLE["en"][problem["who"][runner]] for runner in order)


def verify(problem: Problem) -> str | None:
    """One runner after the other is given a place; the clues are read as sums over the places."""
    names = [PEOPLE["en"][who] for who in problem["who"]]
    found: list[list[int]] = []

    def holds(places: list[int], kind: str, one: int, rest: list[int]) -> bool:
        if kind == "not_place":
            return one >= len(places) or places[one] - 1 != rest[0]
        runners = rest[:2] if kind == "between" else rest[:1]
        if max(one, *runners) >= len(places):
            return True
        ahead = [places[other] - places[one] for other in runners]
        return {
            "between": lambda: ahead[0] * ahead[1] < 0, "before": lambda: ahead[0] > 0, "next": lambda: ahead[0] == 1,
            "gap": lambda: ahead[0] == rest[1], "apart": lambda: ahead[0] ** 2 > 1,
        }[kind]()  # fmt: skip

    def give(places: list[int]) -> None:
        if not all(holds(places, kind, one, rest) for kind, one, *rest in problem["clues"]):
            return
        if len(places) == len(names):
            found.append(places)
            return
        for place in range(1, len(names) + 1):
            if place not in places:
                give([*places, place])

    give([])
    if len(found) != 1:
        return None
    return ", ".join(name for _, name in sorted(zip(found[0], names, strict=True)))


def effort(problem: Problem) -> float:
    """The orders."""
    count = 1
    for number in range(2, len(problem["who"]) + 1):
        count *= number
    return float(count)


def slips(problem: Problem) -> list[Any]:
    """Turned round; the first two changed; the last two changed."""
    order = solve(problem).split(", ")
    return [", ".join(order[::-1]), ", ".join([order[1], order[0], *order[2:]]), ", ".join([*order[:-2], order[-1], order[-2]])]


def say(problem: Problem, language: str) -> str:
    """A race; the names are Latin in both languages, so that an answer is one text."""
    names = [PEOPLE["en"][who] for who in problem["who"]]
    said = []
    for kind, one, *rest in problem["clues"]:
        a, b = names[one], names[rest[0]] if kind != "not_place" else ""
        between = names[rest[1]] if kind == "between" else ""
        gap = rest[1] if kind == "gap" else 0
        if language == "zh":
            said.append({
                "before": f"{a} 比 {b} 先到", "next": f"{b} 紧跟在 {a} 之后到达", "apart": f"{a} 和 {b} 的名次不相邻",
                "not_place": (f"{a} 不是第 "
f"{(rest[0] + 1) if kind == 'not_place' else 0} 名"), "between": f"{a} 的名次在 {b} 和 {between} 之间",
                "gap": f"{b} 的名次数比 {a} 大 {gap}",
            }[kind])  # fmt: skip
        else:
            said.append({
                "before": f"{a} finished before {b}", "next": f"{b} finished immediately after {a}",
                "apart": f"{a} and {b} did not finish one directly after the other",
                "not_place": f"{a} did not finish in place {(rest[0] + 1) if kind == 'not_place' else 0}",
                "between": f"{a} finished somewhere between {b} and {between}",
                "gap": f"{b} finished exactly {gap} place{'s' * (gap != 1)} after {a}",
            }[kind])  # fmt: skip
    if language == "zh":
        return f"{'、'.join(names)} 参加了一场赛跑，没有并列名次。{'；'.join(said)}。请从第一名到最后一名列出名字，用逗号分隔。"
    return (
        f"{', '.join(names[:-1])} and {names[-1]} ran a race without ties. {'. '.join(said)}. "
        "List the runners from first to last, separated by commas."
    )
