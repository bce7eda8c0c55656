"""How far judges agree: against figures worked out by hand and against chance."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from millrace.probing.agreement import Agreement
from millrace.records.summaries import JudgeVotes

VOTES = st.dictionaries(
    st.sampled_from("abcd"), st.sampled_from(["correct", "wrong", "hallucinated", "right_abstain"]), max_size=4
)


def counted(*claims: dict[str, str]) -> Agreement:
    agreement = Agreement()
    for votes in claims:
        agreement.add(votes)
    return agreement


def test_kappa_is_the_one_worked_out_by_hand() -> None:
    agreement = counted(
        {"a": "wrong", "b": "wrong", "c": "wrong"},
        {"a": "correct", "b": "correct", "c": "correct"},
        {"a": "wrong", "b": "wrong", "c": "correct"},
        {"a": "correct", "b": "correct", "c": "correct"},
    )
    # pairs alike: 1, 1, 1/3, 1; 5 of 12 votes say "failed": by chance (25 + 49) / 144
    chance = (25 + 49) / 144
    told = agreement.summary()
    assert told is not None
    assert told.kappa == round(((1 + 1 + 1 / 3 + 1) / 4 - chance) / (1 - chance), 4)
    assert (told.n, told.unanimous, told.tied) == (4, 3, 0)
    assert told.with_majority["c"] == JudgeVotes(votes=4, decided=4, agreed=3)


def test_judges_that_toss_coins_have_a_kappa_of_about_zero() -> None:
    source = random.Random(3)
    told = counted(*({name: source.choice(["wrong", "correct"]) for name in "abc"} for _ in range(5000))).summary()
    assert told is not None
    assert abs(told.kappa) < 0.03


def test_two_ways_of_failing_agree_that_the_model_failed_and_are_not_unanimous() -> None:
    told = counted({"a": "wrong", "b": "hallucinated"}, {"a": "correct", "b": "correct"}).summary()
    assert told is not None
    assert (told.kappa, told.unanimous, told.tied) == (1.0, 1, 1)


def test_a_single_vote_is_not_counted() -> None:
    assert counted({}, {"a": "wrong"}).summary() is None


@given(st.lists(VOTES, max_size=30))
def test_the_counts_add_up_and_kappa_stays_within_its_bounds(claims: list[dict[str, str]]) -> None:
    told = counted(*claims).summary()
    several = [votes for votes in claims if len(votes) > 1]
    if told is None:
        assert not several
        return
    assert told.n == len(several) >= told.unanimous + told.tied
    assert told.kappa is None or -1 <= told.kappa <= 1
    for name, row in told.with_majority.items():
        assert row.votes == sum(name in votes for votes in several)
        assert row.agreed <= row.decided <= row.votes


def test_votes_that_are_missing_are_counted_by_judge_and_reason_even_where_nobody_else_voted() -> None:
    agreement = Agreement()
    agreement.add({"a": "wrong"})
    agreement.add_missing({"b": "cut_off", "c": "filtered"})
    agreement.add({"a": "wrong", "c": "wrong"})
    agreement.add_missing({"b": "cut_off"})
    told = agreement.summary()
    assert told is not None
    assert told.missing == {"b": {"cut_off": 2}, "c": {"filtered": 1}}
    alone = Agreement()
    alone.add_missing({"b": "server"})
    said = alone.summary()
    assert said is not None
    assert (said.n, said.kappa, said.missing) == (0, None, {"b": {"server": 1}})
