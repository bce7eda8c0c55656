"""How many pairs it takes to see a difference, and which difference so many pairs could have shown.

For McNemar's test: Connor (Sample size for testing differences in proportions for the paired-sample design, Biometrics 43, 1987).
`discordance` is the share of pairs in which the two models differ: what makes a comparison noisy. Clusters enter by the design
effect: with 2, twice as many pairs are needed.
"""

from __future__ import annotations

import math
from statistics import NormalDist

POWER = 0.8
"""The chance of seeing a difference that is there which is asked for when nothing else is said."""

_quantile = NormalDist().inv_cdf


def pairs_to_see(
    difference: float, *, discordance: float, alpha: float = 0.05, tests: int = 1, effect: float = 1.0, power: float = POWER
) -> int:
    """Pairs needed so that a difference of rates is found significant with the chance `power`.

    Args:
        difference: of the rates, its sign does not matter; in shares, 0.05 is five points.
        discordance: share of pairs in which the models differ; at least as large as the difference is assumed.
        alpha: level of the two-sided test.
        tests: claims tested together, at Holm's strictest: each at alpha / tests.
        effect: design effect of the clusters.
        power: the chance.
    """
    wanted = _checked(difference)
    apart = max(discordance, wanted)
    reach = _quantile(1 - alpha / tests / 2) * math.sqrt(apart) + _quantile(power) * math.sqrt(apart - wanted**2)
    return math.ceil(effect * (reach / wanted) ** 2)


def pairs_for_no_harm(
    margin: float, *, discordance: float, alpha: float = 0.05, effect: float = 1.0, power: float = POWER
) -> int:
    """Pairs needed so that, where the models fail equally often, a harm of `margin` or more is excluded with the chance `power`.

    `alpha` is one-sided. The other arguments as for `pairs_to_see`.
    """
    reach = _quantile(1 - alpha) + _quantile(power)
    return math.ceil(effect * reach**2 * discordance / _checked(margin) ** 2)


def smallest_seen(
    pairs: int, *, discordance: float, alpha: float = 0.05, tests: int = 1, effect: float = 1.0, power: float = POWER
) -> float | None:
    """The smallest difference that so many pairs show with the chance `power`; None when not even a difference of 1 would be.

    The arguments as for `pairs_to_see`.
    """
    low, high = 0.0, 1.0
    known = {"discordance": discordance, "alpha": alpha, "effect": effect, "power": power}
    if pairs_to_see(high, tests=tests, **known) > pairs:
        return None
    for _ in range(40):
        middle = (low + high) / 2
        if pairs_to_see(middle, tests=tests, **known) > pairs:
            low = middle
        else:
            high = middle
    return high


def _checked(difference: float) -> float:
    if not 0 < abs(difference) <= 1:
        raise ValueError(f"a difference of rates lies between 0 and 1, not at {difference}")
    return abs(difference)
