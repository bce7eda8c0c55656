"""Which kinds of images the base fails on: the share of failures on images with a factor, beyond that on images without any.

A single failure is mostly chance, a kind that fails is not: so images are chosen by their kind, and not by what failed on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from millrace.records.improve import PoolItem

POWER = 2.0
"""Of the excess: a kind with twice the excess is drawn four times as readily (1 and 2 were tried)."""


def excess_by_factor(pool: Mapping[str, Sequence[PoolItem]]) -> dict[str, float]:
    """Factor → how much more often claims about its images fail than claims about images without a factor; at least 0.

    Where every image has a factor, more often than claims about any image.
    """
    failed: dict[str, list[bool]] = {}
    plain: list[bool] = []
    for items in pool.values():
        for item in items:
            for factor in set(item.factors):
                failed.setdefault(factor, []).append(item.failed)
            if not item.factors:
                plain.append(item.failed)
    usual = plain or [item.failed for items in pool.values() for item in items]
    rate = sum(usual) / len(usual) if usual else 0.0
    return {factor: max(0.0, sum(found) / len(found) - rate) for factor, found in sorted(failed.items())}


def weights_of(pool: Mapping[str, Sequence[PoolItem]]) -> dict[str, float]:
    """Image → how readily it is drawn: by the factor of its own that fails most; 0 where none fails more than usual."""
    excess = excess_by_factor(pool)
    return {
        image: max((excess[factor] for item in items[:1] for factor in item.factors), default=0.0) ** POWER
        for image, items in pool.items()
    }
