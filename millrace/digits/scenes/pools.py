"""Which handwritten digits a scene may be made of: pools for training, probing and held-out that share none."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from random import Random

import numpy as np

from millrace.digits.scenes.handwriting import load_digit_images, stroke_of
from millrace.digits.scenes.scene import POOLS

POOL_SHARES = {"train": 0.5, "probe": 0.25, "heldout": 0.25}
"""How the legible digits are split. Training has the most, for variety is what a model needs."""

NEIGHBOURS, MIN_AGREEING = 5, 4
"""A digit is legible when at least 4 of its 5 nearest others carry its label (and its stroke is whole, see `stroke_of`).

8x8 pixels leave some digits on which people would not agree: together the two rules take out 184 of 1,797. No model may be
called wrong on those, so no scene holds them. That makes the lake a little easier than the raw data, for every model alike.
"""


@lru_cache(maxsize=len(POOLS))
def pool_sources(pool: str) -> dict[int, tuple[int, ...]]:
    """The rows of scikit-learn's digits in `pool`, by label. Which pool a digit is in depends on its own pixels only."""
    if pool not in POOLS:
        raise ValueError(f"no pool named {pool!r}; known: {', '.join(POOLS)}")
    ink, labels = load_digit_images()
    start = sum(POOL_SHARES[name] for name in POOLS[: POOLS.index(pool)])
    chosen: dict[int, list[int]] = {label: [] for label in range(10)}
    for source in _agreed_sources():
        place = int.from_bytes(sha256(ink[source].tobytes()).digest()[:8], "big") / 2**64
        if start <= place < start + POOL_SHARES[pool]:
            chosen[int(labels[source])].append(source)
    return {label: tuple(sources) for label, sources in chosen.items()}


def pick_source(rng: Random, pool: str, label: int) -> int:
    """A legible digit of `pool` that shows `label`."""
    sources = pool_sources(pool)[label]
    while (
        True
    ):  # more than nine in ten are legible; finding that out for all of them beforehand would take seconds in every process
        source = sources[rng.randrange(len(sources))]
        if stroke_of(source) is not None:
            return source


@lru_cache(maxsize=1)
def _agreed_sources() -> tuple[int, ...]:
    ink, labels = load_digit_images()
    flat = ink.reshape(len(ink), -1).astype(np.float64)  # sums of integers up to 64 * 256: exact in float64 on any machine
    squares = (flat**2).sum(axis=1)
    distance = squares[:, None] + squares - 2 * flat @ flat.T
    np.fill_diagonal(distance, np.inf)
    nearest = np.argpartition(distance, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    agreeing = (labels[nearest] == labels[:, None]).sum(axis=1)
    return tuple(np.flatnonzero(agreeing >= MIN_AGREEING).tolist())
