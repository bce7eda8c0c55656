"""An observation says an answer as a value of its type, not by its characters."""

from __future__ import annotations

import pytest

from millrace.synthesis.chat.evidence import entailed, entailed_by_text
from millrace.synthesis.chat.judging import quoted, same_family, same_name

SAID = [
    ("24", "the wheel has 24 blades"), ("-5", "it is -5 here"), ("−5", "it is -5 here"), ("1/5", "about 1/5 of it"),
    ("5 km", "5 km long"),
    ("5km", "a 5 km road"), ("5%", "5 percent of all"), ("1000", "1,000 people"), ("1,000", "1000 people"),
    ("$5", "it costs $5."),
    ("2017", "born in 2017."), ("2017", "(2017)"), ("3.50", "3.5"), ("1.5e3", "1500"), ("10 million", "10 million of them"),
    ("5", "5, 6, 7"), ("7", "5, 6, 7."), ("5", "id=5"), ("4", "[4]"), ("8", "it isn't 7 but 8"), ("560", "see PEP 560"),
    ("Paris", "The capital is Paris."), ("paris", "PARIS, the capital"), ("Paris", "It is not Rome, but Paris"),
    ("Paris", "Paris's mayor"),
    ("New York", "in New\nYork"), ("巴黎", "首都是巴黎。"), ("__format__", "object.__format__(self)"),
    ("len()", "call `len()` now"),
    ("C++", "written in C++."), ("2020-05-03", "on May 3, 2020"), ("May 3, 2020", "on 2020-05-03, it"), ("12:30", "at 12:30"),
    ("Noether", "by Emmy Noether (1918)"), ("24", "24 wide\n24 high"),
    ("24", '{"blades":24}'), ("24", "24 a day"), ("3", "it took 3 years"), ("2017", "2017年"),
    ("Paris", "not only Paris but Rome"),
    ("3 years", "it took 3 years"), ("12:30", "from 12:30 on"), ("24", "blades=24;spokes=7"),
]  # fmt: skip
NOT_SAID = [
    ("1", "born in 2017"), ("7", "born in 2017"), ("5", "it is -5 here"), ("-5", "it is 5 here"), ("5", "2.5 m"),
    ("5", "1/5 of it"),
    ("5", "version 3.5.1"), ("3.5", "version 3.5.1"), ("5", "on 2017-05-05"), ("5 m", "5 km long"), ("3 kg", "3 g"),
    ("5", "5 km long"),
    ("5", "5% of all"), ("5%", "5 of all"), ("5", "it costs $5"), ("$5", "it costs 5"), ("10", "10 million"),
    ("5", "in 3-5 days"),
    ("12", "at 12:30"), ("60", "+60001"), ("3 years", "it took 3 months"), ("30", "at 12:30"), ("5", "a/5"),
    ("5", "the 5th place"), ("5", "room 5a"), ("5", "x5"), ("000", "1,000"),
    ("1", "1,000"),
    ("100", "1e100"), ("5", "it is not 5"), ("7", "it isn't 7 but 8"), ("5", "never 5"), ("2020-05-03", "on May 30, 2020"),
    ("a", "a thing"), ("the", "the thing"), ("of the", "of the thing"), ("not", "it is not so"), ("一", "一个"),
    ("的", "他的书"),
    ("Paris", "Parisian food"), ("art", "state-of-the-art"), ("Paris", "The capital is not Paris."),
    ("Paris", "Paris is not the capital"),
    ("Paris", "Paris was never the capital"), ("Paris", "any city except Paris"), ("Paris", "Rome rather than Paris"),
    ("Paris", "it isn’t Paris"), ("巴黎", "首都不是巴黎。"), ("巴黎", "巴黎不是首都。"), ("São", "Sao"), ("", "anything"),
    (" ", "a b"), (".", "a. b"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "text"), SAID)
def test_a_text_says_what_stands_in_it_as_a_value(answer: str, text: str) -> None:
    assert entailed_by_text(answer, text)


@pytest.mark.parametrize(("answer", "text"), NOT_SAID)
def test_a_text_does_not_say_what_is_only_part_of_something_or_is_denied(answer: str, text: str) -> None:
    assert not entailed_by_text(answer, text)


@pytest.mark.parametrize(
    ("answer", "expression", "value", "said"),
    [
        ("555", "5 * 111", "555", True), ("111", "5 * 111", "555", False), ("55", "5 * 111", "555", False),
        ("5", "5 * 111", "555", False),
        ("0.5", "1/2", "1/2", True), ("-5", "0 - 5", "-5", True), ("5", "0 - 5", "-5", False), ("a", "x", "'a'", True),
        ("aBc", "x", "'aBc'", True), ("abC", "x", "'aBc'", False), ("2", "x", "[1, 2]", True), ("[1, 2]", "x", "[1, 2]", True),
        ("1, 2", "x", "[1, 2]", True), ("2, 1", "x", "[1, 2]", False), ("12", "x", "[1, 2]", False),
        ("key", "x", "{'key': 3}", True),
        ("True", "x", "True", True), ("error", "x", "ERROR (error)", False), ("hi", "print('hi')", "None\nprinted: hi", True),
    ],
)  # fmt: skip
def test_what_a_calculator_says_are_its_values_and_not_what_it_was_asked(
    answer: str, expression: str, value: str, said: bool
) -> None:
    assert entailed(answer, [(f"Results:\n{expression} = {value}", {"expressions": [expression]})]) is said


def test_every_observation_is_looked_at_and_none_is_joined_with_the_next() -> None:
    seen: list[tuple[str, dict[str, object]]] = [("the wheel has 24 blades", {}), ("and 7 spokes. New", {}), ("York", {})]
    assert entailed("7", seen)
    assert not entailed("New York", seen)
    assert entailed("25", [("Results:\nprime_count(n=100) = 25", {"operation": "prime_count"})])
    assert not entailed("100", [("Results:\nprime_count(n=100) = 25", {"operation": "prime_count"})])


@pytest.mark.parametrize(
    ("answer", "quote", "holds"),
    [
        ("24", "has 24 blades", True), ("24", "24", True), ("24", "the wheel", False), ("2", "2", False),
        ("4 blades", "4 blades", False),
        ("24", "it has 24 blades", False), ("oak", "not made of oak", False), ("oak", "oak", False), ("", "blades", False),
        ("pine", "PINE.", True),
    ],
)  # fmt: skip
def test_a_quotation_stands_whole_in_an_observation_and_says_the_answer(answer: str, quote: str, holds: bool) -> None:
    seen = ["The wheel has 24 blades.", "It is not made of oak but of\npine."]
    assert quoted(answer, quote, seen) is holds


@pytest.mark.parametrize(
    ("one", "other", "name", "family"),
    [
        ("gpt-4o", "GPT-4o", True, True), ("openai/gpt-4o", "gpt-4o", True, True), ("gpt-4o", "gpt-4o-2024-08-06", False, True),
        ("gpt-4o", "gpt-4o-mini", False, False), ("mistral-large-2407", "mistral-large-2411", False, True),
        ("qwen2.5:7b", "qwen2.5:72b", False, False), ("claude-x-20250101", "claude-x@20250601", False, True),
        ("a", "b", False, False),
    ],
)  # fmt: skip
def test_names_of_one_model_are_told_from_those_of_two(one: str, other: str, name: bool, family: bool) -> None:
    assert same_name(one, other) is same_name(other, one) is name
    assert same_family(one, other) is same_family(other, one) is family
