"""From likelihoods to words: slots, options, statements; with made-up likelihoods and no network."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.digits.baseline.choosing import ABSTAIN, choose_option, fill_slots, free_answer
from millrace.digits.baseline.statements import decide_statement
from millrace.digits.claim_vocabulary import ANSWERS, GAP, KINDS, NOT_RELATED, words_of


def sure_of(kind: str, value: str, chance: float = 0.9) -> list[float]:
    """The likelihoods of a model that is rather sure of one answer."""
    rest = math.log((1 - chance) / (len(ANSWERS) - 1))
    return [math.log(chance) if answer == (kind, value) else rest for answer in ANSWERS]


UNSURE = sure_of("", NOT_RELATED)


@pytest.mark.parametrize(
    ("said", "options", "right"),
    [
        (sure_of("count", "3"), {"A": "1", "B": "3", "C": "13", "D": "2"}, "B"),
        (sure_of("digit", "digit 3"), {"A": "1", "B": "5", "C": "3", "D": "2"}, "C"),
        (sure_of("region", "top left"), {"A": "left", "B": "top centre", "C": "upper left", "D": "centre"}, "C"),
        (sure_of("direction", "left of"), {"A": "right of it", "B": "left of it", "C": "above it", "D": "in front of it"}, "B"),
        (sure_of("turn", "turned clockwise"), {"A": "turned counter-clockwise", "B": "upright", "C": "turned clockwise"}, "C"),
        (sure_of("percent", "4%"), {"A": "1.4%", "B": "about 8%", "C": "about 4.4%", "D": "16%"}, "C"),
        (sure_of("percent", "4%"), {"A": "3.1%", "B": "4.6%"}, "B"),
        (
            sure_of("quarter", "top left"),
            {"A": "bottom half", "B": "the top left quarter", "C": "right half", "D": "bottom left"},
            "B",
        ),
        (UNSURE, {"A": "2", "B": "0", "C": "3", "D": "5"}, "B"),
        (UNSURE, {"A": "top left", "B": "there is no such digit", "C": "centre"}, "B"),
        (sure_of("place", "leftmost"), {"A": "rightmost", "B": "topmost", "C": "leftmost", "D": "bottommost"}, "C"),
        (sure_of("turn", "upright"), {"A": "purple", "B": "up-right", "C": "zebra"}, "B"),
    ],
)
def test_the_option_that_says_what_the_model_means_is_chosen(said: list[float], options: dict[str, str], right: str) -> None:
    assert choose_option(options, said) == right


def test_a_half_needs_both_of_its_quarters() -> None:
    both = [max(a, b) for a, b in zip(sure_of("quarter", "top left", 0.5), sure_of("quarter", "top right", 0.5), strict=True)]
    options = {"A": "left half", "B": "the top half", "C": "bottom half", "D": "right half"}
    assert choose_option(options, both) == "B"


@given(st.dictionaries(st.text(max_size=3), st.text(), min_size=1), st.sampled_from(ANSWERS))
def test_whatever_the_options_one_of_their_keys_is_chosen(options: dict[str, str], answer: tuple[str, str]) -> None:
    assert choose_option(options, sure_of(*answer)) in options


def test_a_free_answer_is_the_likeliest_value_and_abstaining_has_its_word() -> None:
    assert free_answer(sure_of("region", "bottom centre")) == "bottom centre"
    assert free_answer(UNSURE) == NOT_RELATED


def test_slots_get_values_in_the_words_of_the_claim() -> None:
    values, confidence = fill_slots(
        {"ABSOLUTE_REGION": ["Upper-Left", "Center"]}, {"ABSOLUTE_REGION": sure_of("region", "top left")}
    )
    assert values == {"ABSOLUTE_REGION": "Upper-Left"}
    assert confidence == pytest.approx(0.9)


def test_only_allowed_values_are_said() -> None:
    values, _ = fill_slots({"COUNT": ["1", "2"]}, {"COUNT": sure_of("count", "5")})
    assert values is not None
    assert values["COUNT"] in {"1", "2"}


def test_two_slots_are_filled_or_left_together() -> None:
    slots = {"VIEW_DIRECTION": list(KINDS["point"]), "OBJECT_DIRECTION": list(KINDS["turn"])}
    sure, torn = sure_of("point", "up", 0.99), sure_of("", NOT_RELATED, 0.6)
    values, _ = fill_slots(slots, {"VIEW_DIRECTION": sure, "OBJECT_DIRECTION": torn})
    assert values is not None
    assert set(values) == set(slots)
    assert fill_slots(slots, dict.fromkeys(slots, UNSURE))[0] is None


def test_a_free_percentage_lies_between_the_steps_that_the_model_wavers_between() -> None:
    wavering = [max(a, b) for a, b in zip(sure_of("percent", "4%", 0.5), sure_of("percent", "5.5%", 0.5), strict=True)]
    values, _ = fill_slots({"PROPORTION": []}, {"PROPORTION": wavering})
    assert values == {"PROPORTION": "4.7%"}


def test_a_slot_without_any_value_that_the_model_knows_is_left() -> None:
    assert fill_slots({"ENTITY_TYPE": ["cat", "dog"]}, {"ENTITY_TYPE": sure_of("digit", "digit 3")})[0] is None


class Oracle:
    """Knows one scene: a red 7 at the top left, two 3s; what belongs in a gap it tells by the words around it."""

    def __call__(self, words: Sequence[str]) -> list[float]:
        text = " ".join(words)
        if GAP not in words:
            return sure_of("presence", "yes") if "7" in words else UNSURE
        if "where" in text or f"7 in the {GAP}" in text:
            return sure_of("region", "top left")
        if f"{GAP} 3 s" in text or f"number of 3 s {GAP}" in text:
            return sure_of("count", "2")
        return sure_of("presence", "yes", 0.2)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Is the red 7 in the top left part?", True),
        ("Is the red 7 in the bottom right part?", False),
        ("Does the picture show 2 3s?", True),
        ("Does the picture show 3 3s?", False),
        ("Is there a 7?", True),
        ("Is there a red thing?", False),
    ],
)
def test_a_statement_is_true_when_the_model_would_fill_it_in_that_way(question: str, answer: bool) -> None:
    assert decide_statement(words_of(question), Oracle()) is answer


@given(st.text())
def test_any_statement_gets_a_yes_or_a_no(question: str) -> None:
    assert decide_statement(words_of(question), lambda _: UNSURE) is False


def test_abstaining_is_the_last_answer() -> None:
    assert ANSWERS[ABSTAIN] == ("", NOT_RELATED)
