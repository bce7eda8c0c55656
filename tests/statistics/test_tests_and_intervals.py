"""Holm, the clustered McNemar test, intervals and power, against figures computed otherwise."""

from __future__ import annotations

import math
from itertools import product

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from millrace.statistics.bootstrap import bootstrap_differences, generator
from millrace.statistics.cluster_table import Stratum, cluster_table
from millrace.statistics.crossed import crossed_difference
from millrace.statistics.differences import differences
from millrace.statistics.holm import holm
from millrace.statistics.intervals import design_effect
from millrace.statistics.mcnemar import clustered_mcnemar
from millrace.statistics.power import pairs_for_no_harm, pairs_to_see, smallest_seen


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_the_p_value_is_the_share_of_all_choices_of_signs_that_reach_as_far(changes: list[int]) -> None:
    found = clustered_mcnemar(np.array(changes, dtype=float))
    sums = [
        abs(sum(sign * change for sign, change in zip(signs, changes, strict=True)))
        for signs in product((1, -1), repeat=len(changes))
    ]
    assert found.p_value == pytest.approx(np.mean([reached >= abs(sum(changes)) for reached in sums]))


def test_with_one_pair_in_each_image_the_test_is_mcnemars_exact_one() -> None:
    """15 pairs got worse, 5 better: twice the binomial tail, 0.0414 (McNemar 1947 in its exact form)."""
    change = np.array([1.0] * 15 + [-1.0] * 5 + [0.0] * 80)
    found = clustered_mcnemar(change)
    assert found.p_value == pytest.approx(2 * sum(math.comb(20, k) for k in range(6)) / 2**20)
    assert found.statistic == pytest.approx((15 - 5) ** 2 / 20 * 99 / 100)


def test_many_changes_are_tested_as_few_are() -> None:
    """Where all signs are no longer counted, the normal distribution takes over without a step."""
    rng = np.random.default_rng(0)
    many = np.array([1.0] * 2060 + [-1.0] * 1950)
    rng.shuffle(many)
    exact = sum(math.comb(4010, k) for k in range(1951)) / 2**4010 * 2
    assert clustered_mcnemar(many).p_value == pytest.approx(exact, abs=0.003)


def test_nothing_changed_is_no_evidence() -> None:
    found = clustered_mcnemar(np.zeros(40))
    assert (found.p_value, found.statistic, found.clusters) == (1.0, None, 0)


def test_holm_corrects_each_value_by_what_is_left_and_never_turns_their_order_round() -> None:
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "unknown": None})
    assert corrected == {"a": pytest.approx(0.03), "b": pytest.approx(0.06), "c": pytest.approx(0.06), "d": 0.02, "unknown": None}


def test_fifty_unchanged_pairs_do_not_prove_that_nothing_changes() -> None:
    still = Stratum(np.arange(50), np.zeros(50, bool), np.zeros(50, bool))
    found = differences(cluster_table(50, {"all": still}), draws=200, margin=0.02)["all"]
    assert found.difference == 0
    assert found.high == pytest.approx(1.96**2 / (50 + 1.96**2), abs=0.0001)
    assert found.upper > 0.02, "so no harm of two points is excluded"  # type: ignore[operator]


def test_fifty_unchanged_pairs_of_one_image_prove_less_than_those_of_fifty() -> None:
    def reach(cluster: np.ndarray) -> float:
        still = Stratum(cluster, np.zeros(50, bool), np.zeros(50, bool))
        found = differences(cluster_table(50, {"all": still}), draws=50)["all"]
        assert found.high is not None
        return found.high

    assert reach(np.zeros(50, dtype=int)) > reach(np.arange(50) // 10) > reach(np.arange(50))


def test_a_design_effect_is_1_for_images_of_one_pair_and_the_size_for_images_that_change_as_wholes() -> None:
    single = np.array([1.0, -1.0, 0.0, 0.0] * 50)
    assert design_effect(single, np.ones(200), 100) == pytest.approx(1.0, abs=0.01)
    whole = np.array([5.0, -5.0, 0.0, 0.0] * 50)
    assert design_effect(whole, np.full(200, 5.0), 500) == pytest.approx(5.0, abs=0.03)


def test_a_bootstrap_draw_is_what_a_plain_loop_over_the_drawn_images_gives() -> None:
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(30), 3)
    table = cluster_table(30, {"all": Stratum(cluster, rng.random(90) < 0.4, rng.random(90) < 0.3)})
    drawn = bootstrap_differences(table, draws=5, seed=11)
    numbers = generator(11, "images")
    for draw in range(5):
        images = [int(image) for image in numbers.integers(0, 30, 30)]
        change = sum(table.change_KS[image, 0] for image in images)
        assert drawn[draw, 0] == change / sum(table.pairs_KS[image, 0] for image in images)


def test_the_draws_do_not_depend_on_how_many_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    table = cluster_table(40, {"all": Stratum(np.arange(40), rng.random(40) < 0.4, rng.random(40) < 0.3)})
    whole = bootstrap_differences(table, draws=64, seed=1)
    monkeypatch.setattr("millrace.statistics.bootstrap.COUNTS_AT_ONCE", 150)
    assert (bootstrap_differences(table, draws=64, seed=1) == whole).all()


def test_power_is_connors_formula() -> None:
    """5 points at 30 % discordant pairs and 8 claims: 1,532 pairs; no harm of 2 points at 10 %: 1,546."""
    assert pairs_to_see(0.05, discordance=0.3, tests=8) == 1532
    assert pairs_to_see(0.05, discordance=0.3, tests=8, effect=2) == 3064
    assert pairs_for_no_harm(0.02, discordance=0.1) == 1546


@given(st.integers(20, 5000), st.floats(0.01, 0.6), st.integers(1, 12), st.floats(1, 4))
def test_the_smallest_difference_that_is_seen_needs_just_so_many_pairs(
    pairs: int, discordance: float, tests: int, effect: float
) -> None:
    smallest = smallest_seen(pairs, discordance=discordance, tests=tests, effect=effect)
    if smallest is None:
        assert pairs_to_see(1.0, discordance=discordance, tests=tests, effect=effect) > pairs
        return
    assert pairs_to_see(smallest, discordance=discordance, tests=tests, effect=effect) <= pairs
    assert pairs_to_see(0.97 * smallest, discordance=discordance, tests=tests, effect=effect) >= pairs * 0.99


def test_seeds_that_all_changed_nothing_do_not_prove_that_nothing_changes() -> None:
    found = crossed_difference(np.zeros((3, 60)), np.ones((3, 60)), draws=50)
    assert found.difference == 0
    assert found.low < -0.03 < 0.03 < found.high  # type: ignore[operator]


def test_one_seed_has_a_difference_and_no_interval() -> None:
    found = crossed_difference(np.ones((1, 5)), np.full((1, 5), 2.0), draws=50)
    assert (found.difference, found.low, found.by_seed) == (0.5, None, (0.5,))
