"""The difference of two paired rates in clusters: estimate, interval, test, no-harm bound, for many strata at once."""

from __future__ import annotations

import msgspec
import numpy as np

from millrace.statistics.bootstrap import bootstrap_differences
from millrace.statistics.cluster_table import ClusterTable, Floats
from millrace.statistics.intervals import NORMAL, design_effect, percentile_interval, score, score_interval
from millrace.statistics.mcnemar import clustered_mcnemar


class Difference(msgspec.Struct, frozen=True):
    """What is known of one stratum. Rates are shares of its pairs; nothing compared is None, not 0."""

    pairs: int
    clusters: int
    """Images that the pairs are about."""
    before: int
    """Pairs with the event before."""
    after: int
    """Pairs with the event after."""
    appeared: int
    """Pairs with the event after and not before."""
    vanished: int
    """Pairs with the event before and not after."""
    difference: float | None
    """Rate after minus rate before."""
    low: float | None
    high: float | None
    """Ends of the two-sided interval of level 1 - alpha."""
    upper: float | None
    """The one-sided bound of level 1 - alpha: a larger difference is excluded."""
    p_value: float | None
    """Clustered McNemar, two-sided, not corrected for other strata."""
    statistic: float | None
    p_no_harm: float | None
    """One-sided, of the hypothesis that the difference is the margin or more (Tango's score); None without a margin."""
    design_effect: float | None


def differences(
    table: ClusterTable, *, draws: int = 10_000, seed: int = 0, alpha: float = 0.05, margin: float | None = None
) -> dict[str, Difference]:
    """Every stratum of `table`, by name.

    Args:
        table: from `cluster_table`.
        draws: of the bootstrap over clusters.
        seed: decides the draws, and with the same table everything.
        alpha: intervals have the level 1 - alpha.
        margin: for `p_no_harm`, a share above 0.

    Covers: the chance in which images were drawn, and whatever links pairs about one image. Does not cover: images that depend on
    each other, errors of a judge, the chance in how a model was trained (for that `crossed_difference`).
    """
    drawn_DS = bootstrap_differences(table, draws=draws, seed=seed)
    return {name: _difference(table, place, drawn_DS[:, place], alpha, margin) for place, name in enumerate(table.names)}


def _difference(table: ClusterTable, place: int, drawn_D: Floats, alpha: float, margin: float | None) -> Difference:
    pairs_K, change_K = table.pairs_KS[:, place], table.change_KS[:, place]
    held = pairs_K > 0
    pairs, clusters = int(pairs_K.sum()), int(np.count_nonzero(held))
    appeared, vanished = int(table.appeared_S[place]), int(table.vanished_S[place])
    counts = (pairs, clusters, int(table.before_S[place]), int(table.after_S[place]), appeared, vanished)
    if not pairs:
        return Difference(*counts, *[None] * 8)
    effect = design_effect(change_K, pairs_K, appeared + vanished)
    counted = (appeared, vanished, pairs, effect)
    both, one = (
        _widest(percentile_interval(drawn_D, tail, clusters), score_interval(*counted, tail)) for tail in (alpha / 2, alpha)
    )
    test = clustered_mcnemar(change_K[held])
    return Difference(
        *counts,
        difference=float(change_K.sum()) / pairs,
        low=both[0],
        high=both[1],
        upper=one[1],
        p_value=test.p_value,
        statistic=test.statistic,
        p_no_harm=None if margin is None else NORMAL.cdf(score(*counted, margin)),
        design_effect=effect,
    )


def _widest(drawn: tuple[float, float] | None, scored: tuple[float, float]) -> tuple[float, float]:
    return scored if drawn is None else (min(scored[0], drawn[0]), max(scored[1], drawn[1]))
