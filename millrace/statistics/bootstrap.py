"""The bootstrap over clusters: images are drawn again with replacement, each with all its pairs.

One draw of images serves all strata at once: it is a row of counts, and counts times sums by cluster are the sums of the draw.
The same seed gives the same draws, whatever else is computed. Reference: Davison and Hinkley, Bootstrap Methods and Their
Application, 1997, section 3.8 (resampling of whole clusters).
"""

from __future__ import annotations

import hashlib

import numpy as np

from millrace.statistics.cluster_table import ClusterTable, Floats

COUNTS_AT_ONCE = 4_000_000
"""Counts held at a time, 32 MB: large enough for the product of matrices to be quick, small beside the outcomes themselves."""


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A generator that depends on the run's seed and on what it is for."""
    digest = hashlib.sha256(f"{seed} {purpose}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def bootstrap_differences(table: ClusterTable, *, draws: int, seed: int) -> Floats:
    """The difference of rates in each draw (rows) and stratum (columns); NaN where a draw holds no pair of the stratum.

    Draw number d takes the d-th batch of K numbers of `generator(seed, "images")`, each the number of an image.
    """
    clusters = table.clusters
    sums_KT = np.concatenate([table.change_KS, table.pairs_KS], axis=1)
    strata = len(table.names)
    found_DS = np.empty((draws, strata))
    numbers = generator(seed, "images")
    step = max(1, COUNTS_AT_ONCE // max(1, clusters))
    for first in range(0, draws, step):
        last = min(draws, first + step)
        counts_DK = np.empty((last - first, clusters))
        for row in counts_DK:
            row[:] = np.bincount(numbers.integers(0, clusters, clusters), minlength=clusters)
        drawn_DT = counts_DK @ sums_KT
        with np.errstate(invalid="ignore"):
            found_DS[first:last] = drawn_DT[:, :strata] / drawn_DT[:, strata:]
    return found_DS
