"""The statistics of `improve` once more, in plain Python and by other means: sums, no matrices; Student's t by integration.

Nothing here is imported by what computes a run's figures, and nothing of that is imported here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

STEPS = 400
"""Of Simpson's rule; the integrand is smooth."""


class Again(NamedTuple):
    """A difference and what is known of it; None where there is no interval by variance alone."""

    difference: float
    by_seed: tuple[float, ...]
    low: float | None
    high: float | None
    upper: float | None
    p_value: float | None
    p_above: float | None


def difference_again(
    treated: Sequence[Mapping[str, int]],
    control: Sequence[Mapping[str, int]],
    asked: Mapping[str, int],
    level: float,
    margin: float,
) -> Again | None:
    """The difference of two arms.

    Args:
        treated: by seed: image → events.
        control: the same of the control.
        asked: image → things asked; the same under every seed.
        level: of intervals and tests.
        margin: of harm.
    """
    images, seeds = [image for image in asked if asked[image]], len(treated)
    total = sum(asked[image] for image in images)
    if not total:
        return None
    change = [{image: treated[s].get(image, 0) - control[s].get(image, 0) for image in images} for s in range(seeds)]
    by_seed = tuple(sum(one.values()) / total for one in change)
    mean = sum(by_seed) / seeds
    unknown = Again(mean, by_seed, None, None, None, None, None)
    if seeds < 2 or len(images) < 2:
        return unknown
    rest = [{image: one[image] - mean * asked[image] for image in images} for one in change]
    pairs = total * seeds
    images_part = sum(sum(one[image] for one in rest) ** 2 for image in images) * len(images) / (len(images) - 1) / pairs**2
    seeds_part = sum(sum(one.values()) ** 2 for one in rest) * seeds / (seeds - 1) / pairs**2
    cells = sum(value**2 for one in rest for value in one.values()) / pairs**2
    variance = max(images_part + seeds_part - cells, images_part, seeds_part)
    if variance <= 0:
        return unknown
    freedom = variance**2 / (images_part**2 / (len(images) - 1) + seeds_part**2 / (seeds - 1))
    freedom = min(max(freedom, min(seeds, len(images)) - 1), max(seeds, len(images)) - 1)
    error = math.sqrt(variance)
    both, one_sided = error * t_quantile(1 - level / 2, freedom), error * t_quantile(1 - level, freedom)
    return Again(
        mean,
        by_seed,
        max(-1.0, mean - both),
        min(1.0, mean + both),
        min(1.0, mean + one_sided),
        2 * t_below(-abs(mean / error), freedom),
        t_below((margin - mean) / error, freedom),
    )


def t_below(value: float, freedom: float) -> float:
    """The chance that Student's t lies below `value`: with t = √freedom · tan θ the density is a power of the cosine."""
    if value > 0:
        return 1 - t_below(-value, freedom)
    theta = math.atan(-value / math.sqrt(freedom))
    step = theta / STEPS
    heights = [math.pow(math.cos(place * step), freedom - 1) for place in range(STEPS + 1)]
    area = step / 3 * (heights[0] + heights[-1] + 4 * sum(heights[1:-1:2]) + 2 * sum(heights[2:-1:2]))
    whole = math.sqrt(math.pi) * math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2))
    return max(0.0, 0.5 - area / whole)


def t_quantile(level: float, freedom: float) -> float:
    """Below which Student's t lies with the chance `level`, above 0.5: by bisection."""
    low, high = 0.0, 1.0
    while t_below(high, freedom) < level:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if t_below(middle, freedom) < level else (low, middle)
    return (low + high) / 2


def holm_again(chances: Mapping[str, float | None]) -> dict[str, float | None]:
    """Holm's correction: the smallest is multiplied by how many there are, the next by one less, never falling."""
    known = {name: chance for name, chance in chances.items() if chance is not None}
    result: dict[str, float | None] = dict.fromkeys(chances)
    highest = 0.0
    while known:
        name = min(known, key=lambda one: (known[one], one))
        highest = max(highest, min(1.0, known[name] * len(known)))
        result[name] = highest
        del known[name]
    return result
