"""Outcome tables whose truth is known: images with difficulties of their own, claims that share them, effects planted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from millrace.statistics.cluster_table import ClusterTable, Stratum, cluster_table


@dataclass(frozen=True)
class World:
    """How outcomes come about. Logits: a pair fails with the chance expit(base + its image's and its own difficulty)."""

    images: int = 100
    largest: int = 6
    """An image has 1 to so many pairs, any number as likely as another."""
    base: float = -1.0
    effect: float = 0.0
    """What the second model adds to the logit; below 0 it is better."""
    image_difficulty: float = 1.0
    image_change: float = 0.5
    """How much the second model's ability differs from image to image."""
    pair_difficulty: float = 1.5

    @cached_property
    def difference(self) -> float:
        """The true difference of failure rates, over all images that could be drawn."""
        rng = np.random.default_rng(1)
        shared = rng.normal(size=1_000_000) * np.hypot(self.image_difficulty, self.pair_difficulty)
        own = rng.normal(size=1_000_000) * self.image_change
        return float((_expit(self.base + self.effect + shared + own) - _expit(self.base + shared)).mean())

    def draw(self, rng: np.random.Generator) -> Stratum:
        """The pairs of one comparison."""
        sizes = rng.integers(1, self.largest + 1, self.images)
        cluster = np.repeat(np.arange(self.images), sizes)
        hard = (rng.normal(size=self.images) * self.image_difficulty)[cluster]
        hard = hard + rng.normal(size=len(cluster)) * self.pair_difficulty
        changed = (rng.normal(size=self.images) * self.image_change)[cluster]
        before = rng.random(len(cluster)) < _expit(self.base + hard)
        after = rng.random(len(cluster)) < _expit(self.base + self.effect + hard + changed)
        return Stratum(cluster, before, after)

    def table(self, rng: np.random.Generator) -> ClusterTable:
        """The same, added up."""
        return cluster_table(self.images, {"all": self.draw(rng)})


def discordant_pairs(rng: np.random.Generator, pairs: int, discordance: float, difference: float) -> ClusterTable:
    """Pairs alone in their images: `discordance` of them differ, so that the rates differ by `difference`."""
    kind = rng.choice(3, pairs, p=[(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance])
    return cluster_table(pairs, {"all": Stratum(np.arange(pairs), kind == 1, kind == 0)})


def _expit(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))
