"""Rewards: the oracle is paid, silence is not, nor what changes the answer; every way to write the right answer is."""

from __future__ import annotations

import random
import re
from fractions import Fraction
from typing import Any

import pytest

from millrace.synthesis.scoring.answers import SCORERS, aliases_of, score_answer, type_of

ANSWERS: dict[str, list[str]] = {
    "integer": ["232903", "7", "-48", "1000000", "90071992547409", "-12345"],
    "fraction": ["58/777", "-3/4", "1/2", "1001/36"],
    "decimal": ["3.14", "0.5", "-2.718"],
    "text": ["hELLO wORLD", "SGVsbG8sIHRoZXJl", "brown-fox_Jumps", "ff7a", "192.0.2.17", "tca eht", "T-h-e  q", "x = 3"],
    "term": ["__getitem__", "TypeError", "len()", "PEP 560", "3.7", "《红楼梦》"],
    "name": ["Europe/Helsinki", "Åland Islands", "America/Argentina/Ushuaia", "Côte d'Ivoire"],
    "code": ["FI", "CM"],
    "document": ["specialnames", "typesmethods", "书目2"],
    "list": ["3, 1, 2", "red, green, blue"],
    "set": ["3, 1, 2", "red, green, blue"],
    "date": ["2004-03-17", "2011-12-01"],
    "coordinate": ["76°34′N", "12°03′08″S", "179°12′W", "9°30′E"],
}

AROUND = [
    "{}", " {} ", "{}\n", "\\boxed{{{}}}", "$\\boxed{{{}}}$", "The answer is {}.", "The final answer is: {}", "Final answer: {}",
    "**Answer:** {}", "**Final answer: {}**", "Answer: **{}**", "<answer>{}</answer>",
    "<think>It may be 17.</think><answer>{}</answer>",
    "I looked it up.\n\nFinal answer: {}", "Let me see. First 17, then 4.\nSo the answer is {}", "`{}`", "**{}**", '"{}"', "“{}”",
    "#### {}", "答案是{}", "最终答案：{}", "```\n{}\n```", "The result is {}.", "c = {}", "Reasoning…\n{}",
    "<answer>\\boxed{{{}}}</answer>",
    "\\(\\boxed{{{}}}\\)",
]  # fmt: skip
"""More than 20 ways to hand over any answer."""


def ways(kind: str, answer: str) -> list[str]:
    """Other spellings of the very answer."""
    found = aliases_of(kind, answer)
    if kind == "integer":
        n = int(answer)
        found += [
            f"{n:,}",
            f"{n:_}",
            f"{n:,}".replace(",", " "),
            f"{n:,}".replace(",", "\u2009"),
            f"{n}.0",
            f"{n}.",
            f"${n}$",
            f"{n}/1",
        ]
        found += [f"{2 * n}/2", answer.replace("-", "−"), f"\\text{{{n}}}", f"{n:,}".replace(",", "{,}"), f"\\({n}\\)"]
        found += [f"+{n}"] if n > 0 else []
        found += ["".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in answer)]
    if kind == "fraction":
        value = Fraction(answer)
        top, bottom = value.numerator, value.denominator
        found += [f"{top} / {bottom}", f"{2 * top}/{2 * bottom}", f"\\frac{{{top}}}{{{bottom}}}", f"\\dfrac{{{top}}}{{{bottom}}}"]
        found += [
            f"${top}/{bottom}$",
            f"$\\frac{{{top}}}{{{bottom}}}$",
            f"{top}⁄{bottom}",
            f"{top}÷{bottom}",
            f"{top}:{bottom}",
            f"({top})/({bottom})",
        ]
        found += [f"-\\frac{{{-top}}}{{{bottom}}}"] if top < 0 else []
    if kind == "coordinate":
        found += [
            answer.replace("′", "'").replace("″", '"'),
            answer.replace("°", "° ").replace("′", "′ "),
            answer[-1] + answer[:-1],
        ]
        found += [
            answer.replace("°", " deg ").replace("′", " min ").replace("″", " sec "),
            answer.replace("′", "’").replace("″", "”"),
        ]
        word = {"N": "north", "S": "south", "E": "east", "W": "west"}[answer[-1]]
        found += [
            f"{answer[:-1]} {word}",
            f"{answer[:-1]} {answer[-1].lower()}",
            ("-" if answer[-1] in "SW" else "+") + answer[:-1],
        ]
        found += [{"N": "北纬", "S": "南纬", "E": "东经", "W": "西经"}[answer[-1]] + answer[:-1], answer.replace("°", "^\\circ ")]
    if kind == "date":
        found += [answer.replace("-", "/"), answer.replace("-", "")]
    if kind in ("name", "code"):
        found += [answer.lower(), answer.upper()]
    if kind == "document":
        found += [f"[{answer}]", f"{answer}.txt", f"the document '{answer}'", answer.upper()]
    if kind == "list":
        found += [
            f"[{answer}]",
            answer.replace(", ", ","),
            answer.replace(", ", "、"),
            "[" + ", ".join(f"'{part}'" for part in answer.split(", ")) + "]",
        ]
    if kind == "set":
        found += [", ".join(reversed(answer.split(", "))), "{" + answer + "}"]
    return found


def test_there_is_a_panel_for_every_scorer() -> None:
    assert set(ANSWERS) == set(SCORERS)


@pytest.mark.parametrize("kind", ANSWERS)
def test_the_oracle_is_paid_and_silence_is_not(kind: str) -> None:
    for answer in ANSWERS[kind]:
        assert score_answer(kind, answer, answer) == 1
        for nothing in (
            "",
            "   ",
            "\n",
            "I do not know.",
            "\\boxed{}",
            "<answer></answer>",
            "Final answer:",
            "```\n```",
            "N/A",
            ".",
        ):
            assert score_answer(kind, answer, nothing) == 0, nothing


@pytest.mark.parametrize("kind", ANSWERS)
def test_at_least_twenty_ways_to_write_the_right_answer_are_paid(kind: str) -> None:
    for answer in ANSWERS[kind]:
        for around in AROUND:
            assert score_answer(kind, answer, around.format(answer)) == 1, around.format(answer)
        for way in ways(kind, answer):
            assert score_answer(kind, answer, way) == 1, way
            assert score_answer(kind, answer, f"The answer is {way}") == 1, way
            assert score_answer(kind, answer, f"<answer>{way}</answer>") == 1, way


def mutated(answer: str, rng: random.Random) -> str:
    """One small change: a character replaced, inserted, dropped or moved, a case swapped, a part repeated or cut."""
    place = rng.randrange(len(answer))
    letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    way = rng.randrange(7)
    if way == 0:
        return answer[:place] + rng.choice(letters) + answer[place + 1 :]
    if way == 1:
        return answer[:place] + rng.choice(letters) + answer[place:]
    if way == 2:
        return answer[:place] + answer[place + 1 :]
    if way == 3:
        return answer[:place] + answer[place : place + 2][::-1] + answer[place + 2 :]
    if way == 4:
        return answer[:place] + answer[place:].swapcase()
    if way == 5:
        return answer[: place + 1] + answer[place:]
    return answer[: max(1, place)]


def says_the_same(kind: str, answer: str, mutant: str) -> bool:
    """Whether a mutant is the same answer after all, by a rule of this test's own."""
    if mutant.strip() == answer.strip():
        return True
    if kind in ("integer", "fraction", "decimal"):
        if not re.fullmatch(r"[-+\d./ ]+", mutant):  # no exponents: 1e90071992547409 is no number to compute
            return False
        try:
            same = Fraction(mutant.replace(" ", "")) == Fraction(answer)
        except (ValueError, ZeroDivisionError):
            return False
        if kind == "decimal" and not same:
            return abs(Fraction(mutant) - Fraction(answer)) <= Fraction(1, 2 * 10 ** len(answer.partition(".")[2]))
        return same
    if kind in ("name", "code", "document"):
        return " ".join(mutant.casefold().split()) == answer.casefold()
    if kind == "term":
        return mutant in {
            answer.removesuffix("()"),
            answer.removeprefix("PEP "),
            answer.strip("《》"),
            answer.replace(" ", ""),
            answer.swapcase(),
        } and (answer.swapcase() != mutant or not answer[0].isalpha() or answer == "PEP 560")
    if kind in ("list", "set"):
        mine, theirs = (
            [str(int(part)) if part.isdecimal() else part for part in re.split(r"[\s,]*,[\s,]*", text.strip(" ,"))]
            for text in (answer, mutant)
        )
        return theirs == mine if kind == "list" else set(theirs) == set(mine)
    if kind == "coordinate":
        numbers = [[int(n) for n in re.findall(r"\d+", text)] + [0, 0] for text in (answer, mutant)]
        return re.findall("[A-Z]", mutant.upper()) == [answer[-1]] and numbers[0][:3] == numbers[1][:3]
    if kind == "date":
        return re.sub(r"\D", "", mutant) == re.sub(r"\D", "", answer) or [int(n) for n in re.findall(r"\d+", mutant)] == [
            int(n) for n in re.findall(r"\d+", answer)
        ]
    return False


def test_of_the_mutants_that_change_the_answer_at_most_one_in_a_thousand_is_paid() -> None:
    rng = random.Random(3)
    paid: list[tuple[str, str, str]] = []
    tried = 0
    while tried < 30_000:
        kind = rng.choice(list(ANSWERS))
        answer = rng.choice(ANSWERS[kind])
        mutant = mutated(answer, rng)
        if says_the_same(kind, answer, mutant):
            continue
        tried += 1
        if score_answer(kind, answer, rng.choice(AROUND[:20]).format(mutant)):
            paid.append((kind, answer, mutant))
    assert len(paid) <= tried / 1_000, sorted(set(paid))[:40]


@pytest.mark.parametrize(
    ("kind", "answer", "wrong"),
    [
        ("text", "hELLO", "Hello"),
        ("text", "SGVsbG8=", "sgvsbg8="),
        ("text", "tac eht", "the cat"),
        ("text", "a  b", "a b"),
        ("integer", "5", "5 or 6"),
        ("integer", "5", "It is 5. No, the answer is 6."),
        ("integer", "5", "\\boxed{5} or \\boxed{6}"),
        ("integer", "5", "5, 6"),
        ("integer", "1234", "12,34"),
        ("integer", "1234", "1.234"),
        ("fraction", "58/777", "58/778"),
        ("fraction", "1/3", "0.333"),
        ("coordinate", "76°34′N", "76°34′S"),
        ("coordinate", "76°34′N", "76°34′"),
        ("coordinate", "76°34′N", "76°34′E"),
        ("coordinate", "76°34′N", "76°34′01″N"),
        ("date", "2004-03-04", "03/04/2004"),
        ("list", "1, 2, 3", "1, 3, 2"),
        ("set", "1, 2, 3", "1, 2"),
        ("document", "specialnames", "specialnames or types"),
        ("term", "KeyError", "keyerror"),
        ("integer", "7", "9" * 5_000_000),
        ("integer", "7", "(" * 100_000),
        ("integer", "7", "\\boxed{" * 20_000),
        ("integer", "7", "1e999999999"),
    ],
)
def test_what_is_nearly_right_or_names_two_answers_is_not_paid(kind: str, answer: str, wrong: str) -> None:
    assert score_answer(kind, answer, wrong) == 0


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (5, "integer"),
        ("58/777", "fraction"),
        ([1, 2], "list"),
        ("76°34′N", "coordinate"),
        ("2004-03-17", "date"),
        ("abc", "text"),
        (0.5, "decimal"),
    ],
)
def test_an_answers_form_tells_its_type(value: Any, kind: str) -> None:
    assert type_of(value) == kind
