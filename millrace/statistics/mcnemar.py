"""McNemar's test for pairs in clusters: whether two models fail equally often on the same images.

The statistic is Obuchowski's (On the comparison of correlated proportions for clustered data, Statistics in Medicine 17, 1998,
1495-1507): with d_k the failures that cluster k has more after than before, (sum d_k)^2 / (sum d_k^2), times (K-1)/K. Her
distribution, chi-squared with one degree of freedom, holds for many clusters. Here the p-value is exact for any number: when the
models are alike, each d_k is as likely as -d_k, and sum d_k^2 is the same for every choice of signs, so the distribution of the
statistic over all signs is that of the sum. With clusters of one pair this is McNemar's exact (binomial) test. Durkalski et al.
(Statistics in Medicine 22, 2003, 2417-2428) weight clusters by 1/size instead; here every pair counts the same, as in the rate.

Covers: any dependence within a cluster. Does not cover: clusters that depend on each other (the same scene in two images).
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from millrace.statistics.cluster_table import Floats

EXACT_UP_TO = 4_000
"""Sum of |d_k| up to which all signs are counted; beyond it the normal distribution differs by less than 0.0005."""


class PairedTest(msgspec.Struct, frozen=True):
    """What a clustered McNemar test found."""

    statistic: float | None
    """Obuchowski's chi-squared; None where no cluster changed."""
    p_value: float
    """Two-sided. 1 where nothing changed."""
    clusters: int
    """Those with d_k other than 0: what the test rests on."""


def clustered_mcnemar(change_K: Floats) -> PairedTest:
    """Test that the changes of clusters (failures after minus before) are as often up as down.

    Args:
        change_K: whole numbers, one for each cluster with pairs.
    """
    moved = change_K[change_K != 0].astype(np.int64)
    if not len(moved):
        return PairedTest(None, 1.0, 0)
    total, squares = int(moved.sum()), int((moved**2).sum())
    statistic = total**2 / squares * (len(change_K) - 1) / len(change_K)
    if int(np.abs(moved).sum()) > EXACT_UP_TO:
        return PairedTest(statistic, math.erfc(math.sqrt(statistic / 2)), len(moved))
    return PairedTest(statistic, _over_all_signs(np.abs(moved), abs(total)), len(moved))


def _over_all_signs(size: np.ndarray[tuple[int], np.dtype[np.int64]], reached: int) -> float:
    """The share of all choices of signs whose sum is `reached` or more, up or down."""
    share = np.ones(1)
    for value, times in zip(*np.unique(size, return_counts=True), strict=True):
        spread = np.zeros(2 * int(value) * int(times) + 1)
        spread[:: 2 * int(value)] = _half_binomial(int(times))
        share = np.convolve(share, spread)
    middle = len(share) // 2
    tail = float(share[middle + reached :].sum())
    return min(1.0, 2 * tail)


def _half_binomial(n: int) -> Floats:
    """The chances of 0 … n heads in n throws."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    chances: Floats = np.exp(logs[n] - logs - logs[::-1] - n * math.log(2))
    return chances
