"""Answers in words: what is read, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.digits.claim_vocabulary import (
    ANSWERS,
    GAP,
    KINDS,
    SLOT_KINDS,
    answer_index,
    percent,
    question_words,
    read_value,
    words_of,
)
from millrace.probing.claims import load_claims


@pytest.mark.parametrize(("kind", "value"), ANSWERS[:-1])
def test_every_value_reads_back_as_itself(kind: str, value: str) -> None:
    assert read_value(kind, value) == value
    assert answer_index(kind, value) == ANSWERS.index((kind, value))
    assert read_value(kind, f"  {value.upper()}. ") == value


def test_the_default_claims_allow_what_the_vocabulary_holds() -> None:
    for claim in load_claims("default").claims:
        for slot in claim.answer_slots:
            allowed = claim.slots[slot].values
            assert allowed == KINDS[SLOT_KINDS[slot]] or (slot == "PROPORTION" and not allowed)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("digit", "a seven", "digit 7"),
        ("digit", "either 3 or 8", None),
        ("digit", "12", None),
        ("region", "upper-left corner", "top left"),
        ("region", "the middle of the bottom row", "bottom centre"),
        ("region", "in the center", "centre"),
        ("region", "left and right", None),
        ("region", "left", None),
        ("direction", "to the left of it", "left of"),
        ("direction", "left of and above", None),
        ("direction", "beneath", "below"),
        ("place", "the left-most one", "leftmost"),
        ("percent", "about 12 percent", "12%"),
        ("percent", "between 10% and 15%", None),
        ("percent", "120%", None),
        ("count", "three", "3"),
        ("count", "2.5", None),
        ("quarter", "lower right quadrant", "bottom right"),
        ("quarter", "top half", None),
        ("point", "upwards", "up"),
        ("turn", "rotated counterclockwise", "turned counter-clockwise"),
        ("turn", "anti-clockwise", "turned counter-clockwise"),
        ("turn", "upside-down", "upside down"),
        ("turn", "", None),
    ],
)
def test_wording_is_free_and_meaning_is_not(kind: str, text: str, value: str | None) -> None:
    assert read_value(kind, text) == value


@given(st.sampled_from(sorted(KINDS)), st.text())
def test_any_text_is_read_or_refused_without_an_exception(kind: str, text: str) -> None:
    value = read_value(kind, text)
    if value is not None:
        assert read_value(kind, value) == value


@given(st.floats(0, 100))
def test_every_percentage_has_a_nearest_step(number: float) -> None:
    place = answer_index("percent", f"{number}%")
    assert place is not None
    step = percent(ANSWERS[place][1])
    if 0.7 <= number <= 32:
        assert step / 1.25 <= number <= step * 1.25


def test_questions_lose_their_instructions_and_keep_their_gap() -> None:
    words = question_words("Complete with up, right, down or left: the top of the 7s ____. (one word)")
    assert words == ["the", "top", "of", "the", "7", "s", GAP]
    assert words_of("In the [ABSOLUTE_REGION] part") == ["in", "the", GAP, "part"]
