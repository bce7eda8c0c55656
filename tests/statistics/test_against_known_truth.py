"""The statistics keep what they promise, on tables whose truth is known. `bench_statistics.py` does the same at length."""

from __future__ import annotations

import numpy as np
import pytest

from millrace.statistics.cluster_table import Stratum, cluster_table
from millrace.statistics.crossed import crossed_difference
from millrace.statistics.differences import differences
from millrace.statistics.holm import holm
from millrace.statistics.mcnemar import clustered_mcnemar
from millrace.statistics.power import pairs_for_no_harm, pairs_to_see
from tests.statistics.known_truth import World, discordant_pairs


@pytest.mark.parametrize(
    "world",
    [
        World(images=60, largest=8, effect=0.5),
        World(images=150, largest=4, effect=-0.4, image_change=1.0),
        World(images=300, largest=3, base=-3.5, effect=-0.5),
    ],
    ids=["few images, many claims each", "images that change differently", "rare failures"],
)
def test_an_interval_of_95_percent_covers_the_truth_in_93_to_97_percent_of_comparisons(world: World) -> None:
    rng = np.random.default_rng(0)
    found = [differences(world.table(rng), draws=400, seed=trial)["all"] for trial in range(500)]
    covered = np.mean([one.low <= world.difference <= one.high for one in found])  # type: ignore[operator]
    assert 0.93 <= covered <= 0.97


def test_an_interval_that_ignores_clusters_would_not_cover() -> None:
    """What the clusters are for: the same tables, read as if each pair were an image of its own."""
    rng = np.random.default_rng(0)
    world = World(images=40, largest=10, effect=0.3, image_change=2.0)
    covered = []
    for _ in range(300):
        drawn = world.draw(rng)
        change = drawn.after_P.astype(float) - drawn.before_P
        error = change.std(ddof=1) / np.sqrt(len(change))
        covered.append(abs(change.mean() - world.difference) <= 1.96 * error)
    assert np.mean(covered) < 0.9


def test_two_equal_models_differ_significantly_in_at_most_5_percent_of_comparisons_over_all_claims_together() -> None:
    """Eight claims about the same images, none of which changed, although images do: one false finding is one too many."""
    rng = np.random.default_rng(3)
    world = World(images=80, largest=5, image_change=0.0)
    false = alone = 0
    trials = 600
    for _ in range(trials):
        p_values = {}
        for claim in range(8):
            table = world.table(rng)
            p_values[str(claim)] = clustered_mcnemar(table.change_KS[:, 0]).p_value
        corrected = [p for p in holm(p_values).values() if p is not None]
        false += min(corrected) <= 0.05
        alone += min(p_values.values()) <= 0.05
    assert false / trials <= 0.05
    assert alone / trials > 0.2, "without the correction the family would be wrong far more often"


def test_a_clustered_test_keeps_its_level_where_images_change_back_and_forth_as_wholes() -> None:
    """Each image's pairs all get better or all worse, as often one as the other: McNemar's own test finds 'significance' here."""
    rng = np.random.default_rng(4)
    clustered, naive = [], []
    for _ in range(400):
        sign = rng.choice([-1, 0, 1], 60, p=[0.2, 0.6, 0.2])
        change = sign * rng.integers(1, 6, 60)
        clustered.append(clustered_mcnemar(change.astype(float)).p_value <= 0.05)
        moved = np.abs(change).sum()
        naive.append(change.sum() ** 2 / max(1, moved) >= 3.84)
    assert np.mean(clustered) <= 0.07
    assert np.mean(naive) > 0.15


@pytest.mark.parametrize(("difference", "discordance", "tests"), [(0.05, 0.3, 8), (0.1, 0.3, 1), (0.03, 0.08, 4)])
def test_so_many_pairs_as_are_asked_for_show_the_difference_in_4_of_5_comparisons(
    difference: float, discordance: float, tests: int
) -> None:
    pairs = pairs_to_see(difference, discordance=discordance, tests=tests)
    rng = np.random.default_rng(5)
    level = 0.05 / tests
    tables = [discordant_pairs(rng, pairs, discordance, difference) for _ in range(500)]
    seen = np.mean([clustered_mcnemar(table.change_KS[:, 0]).p_value <= level for table in tables])
    assert 0.75 <= seen <= 0.86


def test_so_many_pairs_as_are_asked_for_exclude_a_harm_in_4_of_5_comparisons_of_equal_models() -> None:
    pairs = pairs_for_no_harm(0.04, discordance=0.1)
    rng = np.random.default_rng(6)
    found = [differences(discordant_pairs(rng, pairs, 0.1, 0.0), draws=400, seed=trial)["all"] for trial in range(300)]
    assert 0.72 <= np.mean([one.upper < 0.04 for one in found]) <= 0.88  # type: ignore[operator]


def test_a_harm_as_large_as_the_margin_is_excluded_in_at_most_5_percent_of_comparisons() -> None:
    rng = np.random.default_rng(7)
    found = [differences(discordant_pairs(rng, 300, 0.15, 0.04), draws=400, seed=trial)["all"] for trial in range(400)]
    assert np.mean([one.upper < 0.04 for one in found]) <= 0.065  # type: ignore[operator]


@pytest.mark.parametrize(("seeds", "spread"), [(3, 0.02), (6, 0.02), (10, 0.0)])
def test_an_interval_over_images_and_seeds_covers_the_truth_whatever_the_seeds_add(seeds: int, spread: float) -> None:
    rng = np.random.default_rng(8)
    covered = []
    for trial in range(300):
        pairs_K = rng.integers(1, 6, 150)
        mean = -0.02 + rng.normal(size=(seeds, 1)) * spread + rng.normal(size=(1, 150)) * 0.05
        mean = np.clip(mean, -0.19, 0.19)
        up = rng.binomial(pairs_K, (0.2 + mean) / 2)
        down = rng.binomial(pairs_K - up, ((0.2 - mean) / 2) / (1 - (0.2 + mean) / 2))
        pairs_RK = np.broadcast_to(pairs_K, up.shape).astype(float)
        found = crossed_difference((up - down).astype(float), pairs_RK, draws=50, seed=trial)
        covered.append(found.low <= -0.02 <= found.high)  # type: ignore[operator]
    assert np.mean(covered) >= 0.93


def test_strata_that_share_images_are_told_apart() -> None:
    """A planted harm in one claim is found there, and the claim beside it stays as it is."""
    rng = np.random.default_rng(9)
    harmed, same = World(images=200, largest=3, effect=0.9), World(images=200, largest=3, image_change=0.0)
    table = cluster_table(200, {"harmed": harmed.draw(rng), "same": same.draw(rng)})
    found = differences(table, draws=500, margin=0.02)
    assert found["harmed"].low > 0  # type: ignore[operator]
    assert found["harmed"].p_value < 0.01  # type: ignore[operator]
    assert found["harmed"].p_no_harm > 0.9  # type: ignore[operator]
    assert found["same"].low < 0 < found["same"].high  # type: ignore[operator]


def test_a_stratum_is_what_it_was_when_others_are_computed_beside_it() -> None:
    rng = np.random.default_rng(10)
    one, other = World(images=50).draw(rng), World(images=50).draw(rng)
    alone = differences(cluster_table(50, {"one": one}), draws=300, seed=7)["one"]
    beside = differences(cluster_table(50, {"other": other, "one": one}), draws=300, seed=7)["one"]
    assert alone == beside


def test_no_pair_is_no_figure_and_not_zero() -> None:
    none = np.array([], dtype=np.int64)
    found = differences(cluster_table(3, {"empty": Stratum(none, none.astype(bool), none.astype(bool))}), draws=10)["empty"]
    assert (found.pairs, found.difference, found.low, found.p_value) == (0, None, None, None)
