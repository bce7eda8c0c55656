"""Checks over a whole run: duplicates, answers given too often, contamination, leaks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.synthesis.checks import Contamination, Seen, answer_limit, load_earlier, signature_of
from millrace.synthesis.verification import leaks

QUESTION = "Let a = 30. Let b be the number of primes not exceeding a. Let c be the sum of the positive divisors of b. What is c?"


def test_an_equal_question_is_a_duplicate_whatever_its_spacing_and_case(tmp_path: Path) -> None:
    seen = Seen(tmp_path / "s.sqlite", 0.95)
    assert seen.duplicate_of("one", QUESTION, signature_of(QUESTION)) is None
    assert seen.duplicate_of("two", f"  {QUESTION.upper()} ", signature_of(QUESTION)) == "one"
    assert seen.said_of("two") == "one"
    seen.close()
    assert not (tmp_path / "s.sqlite").exists()


def test_a_nearly_equal_question_is_a_duplicate_and_one_with_other_numbers_is_not(tmp_path: Path) -> None:
    long = " ".join(f"word{n} and then" for n in range(60))
    seen = Seen(tmp_path / "s.sqlite", 0.9)
    assert seen.duplicate_of("one", long, signature_of(long)) is None
    near = long.replace("word59", "other59")
    assert seen.duplicate_of("two", near, signature_of(near)) == "one"
    other = QUESTION.replace("30", "47").replace("positive", "odd")
    assert seen.duplicate_of("three", QUESTION, signature_of(QUESTION)) is None
    assert seen.duplicate_of("four", other, signature_of(other)) is None
    seen.close()


def test_signatures_estimate_the_similarity_of_texts() -> None:
    words = [f"w{n}" for n in range(200)]
    one, other = signature_of(" ".join(words)), signature_of(" ".join(words[:150] + [f"v{n}" for n in range(50)]))
    true = 148 / (198 + 50)
    assert sum(a == b for a, b in zip(one, other, strict=True)) / len(one) == pytest.approx(true, abs=0.15)


@given(st.dictionaries(st.integers(1, 60), st.integers(1, 40), min_size=1), st.floats(0.01, 0.5))
def test_the_answer_limit_keeps_every_answer_within_its_share(times: dict[int, int], share: float) -> None:
    limit = answer_limit(times, share)
    total = sum(count * min(given, limit) for given, count in times.items())
    assert limit == 1 or limit <= share * total
    larger = limit + 1
    if larger <= max(times):
        assert larger > share * sum(count * min(given, larger) for given, count in times.items())


def test_questions_of_earlier_datasets_are_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "qa.jsonl").write_text(json.dumps({"qa_id": "old", "question": QUESTION}) + "\n")
    seen = Seen(tmp_path / "s.sqlite", 0.95)
    assert load_earlier(seen, [tmp_path / "qa.jsonl"]) == 1
    assert seen.duplicate_of("new", QUESTION, signature_of(QUESTION)) == "old"
    seen.close()


def test_a_question_that_shares_thirteen_words_with_a_benchmark_is_found(tmp_path: Path) -> None:
    (tmp_path / "bench.jsonl").write_text(json.dumps({"q": f"Once more: {QUESTION}"}) + "\n")
    contamination = Contamination([tmp_path / "bench.jsonl"])
    assert contamination.hits(QUESTION)
    assert not contamination.hits(
        "How many zones are on the page of Finland, and what is the latitude of the first of them, please?"
    )


@pytest.mark.parametrize(
    ("question", "answer", "leaking"),
    [
        ("What is 13 plus x?", "13", True),
        ("What is 130 plus x?", "13", False),
        ("Which city, Paris or Rome?", "rome", True),
        ("Which romeo is meant?", "rome", False),
        ("设 a 为42。求 b。", "42", True),
        ("Is it E or F?", "FE", False),
    ],
)
def test_a_leak_is_the_answer_as_a_word_of_its_own(question: str, answer: str, leaking: bool) -> None:
    assert leaks(question, answer) is leaking
