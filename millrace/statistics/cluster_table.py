"""Paired outcomes added up by cluster (image): what every statistic of this room is computed from.

A pair is one claim about one image, answered by two models. Several pairs share an image and go together, so the image, and not
the pair, is what chance has drawn. A stratum is a set of pairs with a figure of its own: all of them, those of one claim, of one
factor, and so on; a pair may be in many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# K clusters, S strata, P pairs of a stratum
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Stratum:
    """Some pairs: which cluster each is in, and whether the event (a failure, an outcome) happened before and after."""

    cluster_P: Ints
    before_P: NDArray[np.bool_]
    after_P: NDArray[np.bool_]


@dataclass(frozen=True)
class ClusterTable:
    """Sums by cluster and stratum. The values are whole numbers, so any order of adding gives the same."""

    names: tuple[str, ...]
    pairs_KS: Floats
    """Pairs."""
    change_KS: Floats
    """Events after minus events before."""
    before_S: Ints
    """Pairs with the event before."""
    after_S: Ints
    """Pairs with the event after."""
    appeared_S: Ints
    """Pairs with the event after and not before."""
    vanished_S: Ints
    """Pairs with the event before and not after."""

    @property
    def clusters(self) -> int:
        """How many images there are."""
        return int(self.pairs_KS.shape[0])

    def place(self, name: str) -> int:
        """The column of a stratum."""
        return self.names.index(name)


def cluster_table(clusters: int, strata: Mapping[str, Stratum]) -> ClusterTable:
    """Add up the pairs of each stratum by cluster.

    Args:
        clusters: how many there are; `Stratum.cluster_P` holds numbers below it.
        strata: by name.
    """
    columns: dict[str, list[NDArray[np.float64]]] = {"pairs": [], "change": []}
    counts: list[list[int]] = []
    for stratum in strata.values():
        change_P = stratum.after_P.astype(np.int8) - stratum.before_P.astype(np.int8)
        columns["pairs"].append(np.bincount(stratum.cluster_P, minlength=clusters).astype(np.float64))
        columns["change"].append(np.bincount(stratum.cluster_P, weights=change_P, minlength=clusters).astype(np.float64))
        counts.append([int(part.sum()) for part in (stratum.before_P, stratum.after_P, change_P == 1, change_P == -1)])
    totals_S4 = np.array(counts, dtype=np.int64).reshape(-1, 4)
    empty = np.empty((clusters, 0))
    return ClusterTable(
        tuple(strata),
        np.stack(columns["pairs"], axis=1) if strata else empty,
        np.stack(columns["change"], axis=1) if strata else empty,
        *totals_S4.T,
    )
