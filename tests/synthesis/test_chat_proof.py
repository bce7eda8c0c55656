"""A question that a model wrote is proven by a program that reads it back whole, or not called proven."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.run.journal import read_jsonl
from millrace.synthesis.chat import read_back
from millrace.synthesis.chat_proof import PROOF, READ_BACK, prove_written
from millrace.synthesis.environments import Environment


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is .5 * 4?", "2"), ("What is 12^2?", "144"), ("What is 7 ÷ 2 × 3?", "21/2"), ("What is 1,234 * 2?", "2468"),
        ("What is (3 + 4) * 5 ?", "35"), ("Compute 17 % 5.", "2"), ("What is gcd(12, 18)?", "6"), ("−3 − 4 等于多少？", "-7"),
    ],
)  # fmt: skip
def test_an_expression_is_read_as_it_is_written(question: str, answer: str, opened: Callable[..., Environment]) -> None:
    right, wrong = (prove_written(opened("math"), question, said) for said in (answer, f"{answer}1"))
    assert right is not None
    assert right.passed
    assert wrong is not None
    assert not wrong.passed


@pytest.mark.parametrize(
    "question",
    [
        "What is 3 * 5!?", "What is (2 + 3)!?", "What is 5% - 3?", "What is 10% of 50?", "What is 1 + 2 + ... + 100?",
        "What is 3 * 4..?",
        "Is 3 * 5 = 15?", "What is 3² * 2?", "What is |3 - 5|?", "What is 2e3 * 4?", "What is 12:30 - 2?", "What is 1 000 * 2?",
        "What is 3 x 4?", "What is 2 to the power 3 + 1?", "What is [2.5 * 3]?", "What is 3 * 5 的一半?", "What is 7 / 0?",
    ],
)  # fmt: skip
def test_what_people_read_otherwise_than_a_calculator_is_not_proven(question: str, opened: Callable[..., Environment]) -> None:
    assert [prove_written(opened("math"), question, said) for said in ("15", "2", "5050")] == [None] * 3


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What does this Python code print?\n```python\nfor n in range(3):\n    print(n * n)\n```", "0\n1\n4"),
        ("What is the output of `print('a' * 3)`?", "aaa"),
        ("What is the value of the following Python code?\n```\nx = 5\nx * 7\n```", "35"),
        ("What does the expression `'it\\'s'.upper()` return?", "IT'S"),
        ("```py\nsorted({'b': 1, 'a': 2})\n```\nWhat is the result?", "['a', 'b']"),
    ],
)
def test_python_is_run_again_and_gives_what_it_prints_or_returns(
    question: str, answer: str, opened: Callable[..., Environment]
) -> None:
    right, wrong = (prove_written(opened("python"), question, said) for said in (answer, "another"))
    assert right is not None
    assert right.passed, right.detail
    assert wrong is not None
    assert not wrong.passed


def test_python_that_says_something_else_each_time_has_no_answer(opened: Callable[..., Environment]) -> None:
    environment = opened("python")
    question = "What is the value of `''.join({'alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta'})`?"
    answers = {environment.tools["python_interpreter"].run({"expressions": [question.split("`")[1]]}).text.split(" = ")[-1]}
    found = [prove_written(environment, question, answer.strip("'")) for answer in answers]
    assert all(check is not None and not check.passed for check in found)


@pytest.mark.parametrize(
    "code",
    ["__import__('time').time()", "import datetime; datetime.date.today().year", "hash('a')", "id(3)", "import os; os.getpid()"],
)
def test_python_that_looks_around_is_not_proven(code: str, opened: Callable[..., Environment]) -> None:
    assert prove_written(opened("python"), f"What is the value of `{code}`?", "2026") is None


@pytest.mark.parametrize("name", ["web", "math"])
def test_every_question_in_the_words_of_its_environment_is_read_back_to_its_answer(
    name: str, preset_run: Callable[[str], Path], opened: Callable[..., Environment]
) -> None:
    items = list(read_jsonl(preset_run(name) / "qa.jsonl"))[:12]
    environment = opened(name)
    right = [prove_written(environment, item["question"], item["answer"]) for item in items]
    wrong = [prove_written(environment, item["question"], f"{item['answer']}7") for item in items]
    read = [check for check in right if check is not None]
    assert len(read) * 10 >= len(items) * 9
    assert all(check.passed and check.name == READ_BACK for check in read)
    assert not any(check.passed for check in wrong if check is not None)


def world(environment: Environment, language: str = "en", **words: str) -> str:
    return environment.frames[language]["start"].split("|")[0].format(**{"v": '"Finland"', "value": "Finland", **words})


def test_a_nested_question_about_the_web_is_computed_from_its_tables(opened: Callable[..., Environment]) -> None:
    environment = opened("web")
    for words, answer in (
        ('What is the ISO 3166 code on the page of "Finland"?', "FI"),
        ("Give the ISO 3166 code on the page of the entry listed first on the page of Europe/Helsinki.", "FI"),
        ("What is the only zone on the page of Finland?", "Europe/Helsinki"),
    ):
        right, wrong = (prove_written(environment, f"{world(environment)} {words}", said) for said in (answer, "SE"))
        assert right is not None, words
        assert (right.name, right.passed) == (READ_BACK, True)
        assert wrong is not None
        assert not wrong.passed
    chinese = f"{world(environment, 'zh', v='“Finland”')}“Finland” 的页面上的 ISO 3166 代码 是什么？"
    found = prove_written(environment, chinese, "FI")
    assert found is None or found.passed


@pytest.mark.parametrize(
    "question",
    [
        'What is the ISO 3166 code on the page of "Finland"?',
        '{world} What is the ISO 3166 code on the page of the country "Finland"?',
        '{world} What is the ISO 3166 code on the page of "Atlantis"?',
        '{world} What is the lower case of the ISO 3166 code on the page of "Finland"?',
        '{world} Is "FI" the ISO 3166 code on the page of "Finland"?',
        '{world} What is the ISO 3166 code on the page of A?',
        '{world} What is "Finland"?',
        '{world} What is the only zone on the page of the latitude of the principal location of "Finland"?',
        "{world}",
        "{other} What is the ISO 3166 code on the page of \"Finland\"?",
    ],
)  # fmt: skip
def test_a_question_that_is_not_understood_whole_or_names_no_world_is_not_proven(
    question: str, opened: Callable[..., Environment]
) -> None:
    environment = opened("web")
    words = {"world": world(environment), "other": world(environment).replace("tzdata ", "tzdata 1")}
    assert prove_written(environment, question.format(**words), "FI") is None


def test_a_question_about_a_text_is_computed_over_the_whole_corpus_where_it_says_how_the_text_is_read(
    opened: Callable[..., Environment],
) -> None:
    environment = opened("rag")
    mention = environment.frames["en"]["rule:mention"]
    asked = "What is the document that comes last (by code point of its name) of those that mention `__format__`?"
    right = prove_written(environment, f"{world(environment)} {mention} {asked}", "specialnames")
    wrong = prove_written(environment, f"{world(environment)} {mention} {asked}", "formatstrings")
    assert right is not None
    assert right.passed
    assert wrong is not None
    assert not wrong.passed
    assert prove_written(environment, f"{world(environment)} {asked}", "specialnames") is None, (
        "it does not say what a mention is"
    )


def test_a_question_that_keeps_the_verifier_busy_is_given_up_and_not_proven(
    opened: Callable[..., Environment], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_back, "WITHIN_S", 1.0)
    environment = opened("math")
    assert prove_written(environment, "What is 2 + 3?", "5") is not None  # its process is there
    words = environment.operators["totient"].en.format(x="a") if "totient" in environment.operators else "the totient of a"
    began = time.monotonic()
    found = prove_written(environment, f"Let a = 999999999989. Let b be {words}. What is b?", "1")
    assert found is None or not found.passed
    assert time.monotonic() - began < 20
    again = prove_written(environment, "What is 2 + 3?", "5")
    assert again is not None
    assert (again.name, again.passed) == (PROOF, True)
