"""The statistics of a comparison once more, in plain loops, for `verify`. Shares no code with `millrace/statistics`.

Each function follows the source that is named there, not the code that is there.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

NORMAL = NormalDist()


def sign_test(changes: Sequence[int]) -> float:
    """The clustered McNemar test: the share of all ways to give each image's change a sign that reach as far (two-sided)."""
    moved = [abs(change) for change in changes if change]
    total = abs(sum(changes))
    if not moved:
        return 1.0
    if sum(moved) > 4000:
        statistic = total**2 / sum(size**2 for size in moved) * (len(changes) - 1) / len(changes)
        return math.erfc(math.sqrt(statistic / 2))
    chances = {0: 1.0}
    for size, times in Counter(moved).items():
        throws = [math.comb(times, heads) / 2**times for heads in range(times + 1)]
        spread: dict[int, float] = {}
        for reached, chance in chances.items():
            for heads, weight in enumerate(throws):
                place = reached + size * (2 * heads - times)
                spread[place] = spread.get(place, 0.0) + chance * weight
        chances = spread
    return min(1.0, 2 * math.fsum(chance for reached, chance in chances.items() if reached >= total))


def holm_by_hand(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Holm: the smallest times the number of tests, the next times one less; none below the one before it."""
    order = sorted((name for name, p in p_values.items() if p is not None), key=lambda name: (p_values[name], name))
    found: dict[str, float | None] = dict.fromkeys(p_values)
    last = 0.0
    for left, name in zip(range(len(order), 0, -1), order, strict=True):
        last = max(last, min(1.0, left * (p_values[name] or 0.0)))
        found[name] = last
    return found


def drawn_differences(images: int, changes: Any, pairs: Any, *, draws: int, seed: int) -> Any:
    """Each draw of images by itself: the drawn images' changes over their pairs, for all rows (draws × rows)."""
    digest = hashlib.sha256(f"{seed} images".encode()).digest()
    numbers = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    found = np.full((draws, changes.shape[1]), np.nan)
    for draw in range(draws):
        drawn = numbers.integers(0, images, images)
        change, count = changes[drawn].sum(axis=0), pairs[drawn].sum(axis=0)
        found[draw, count > 0] = change[count > 0] / count[count > 0]
    return found


def quantile(values: Sequence[float], level: float) -> float:
    """Between the two values that stand around the place `level` in their order."""
    order = sorted(values)
    place = level * (len(order) - 1)
    below = math.floor(place)
    above = min(below + 1, len(order) - 1)
    return order[below] + (order[above] - order[below]) * (place - below)


def effect_of_clusters(changes: Sequence[int], pairs: Sequence[int], discordant: int) -> float:
    """Variance of the difference with images as they are, over that with independent pairs; from 1 to the images' size."""
    total, images = sum(pairs), len(pairs)
    largest = sum(size**2 for size in pairs) / total
    difference = sum(changes) / total
    single = (discordant / total - difference**2) / total
    if images < 2 or single <= 0:
        return largest
    whole = sum((change - size * difference) ** 2 for change, size in zip(changes, pairs, strict=True)) * images / (images - 1)
    return min(max(whole / total**2 / single, 1.0), largest)


def tango(up: float, down: float, n: float, difference: float) -> float:
    """Tango's z for the hypothesis that the rates differ by `difference` (Statistics in Medicine 17, 1998, formula 12)."""
    b = (2 * n - up + down) * difference - up - down
    root = math.sqrt(max(b**2 + 8 * n * down * difference * (1 - difference), 0.0))
    q = (root - b) / (4 * n)
    spread = n * (2 * q + difference * (1 - difference))
    gap = up - down - n * difference
    if spread <= 0:
        return 0.0 if gap == 0 else math.copysign(math.inf, gap)
    return gap / math.sqrt(spread)


def interval(drawn: Sequence[float], images: int, up: float, down: float, n: float, tail: float) -> tuple[float, float]:
    """The widest of the bootstrap's percentiles, widened as Student's t is, and Tango's interval."""
    low, high = (_tango_end(up, down, n, tail, end) for end in (-1.0, 1.0))
    known = [value for value in drawn if not math.isnan(value)]
    if images > 1 and len(known) > 1:
        from scipy.stats import norm, t

        level = float(norm.cdf(-math.sqrt(images / (images - 1)) * t.ppf(1 - tail, images - 1)))
        low, high = min(low, quantile(known, level)), max(high, quantile(known, 1 - level))
    return low, high


def _tango_end(up: float, down: float, n: float, tail: float, end: float) -> float:
    accepted, rejected = (up - down) / n, end
    while abs(accepted - rejected) > 1e-13:
        middle = (accepted + rejected) / 2
        if abs(tango(up, down, n, middle)) <= NORMAL.inv_cdf(1 - tail):
            accepted = middle
        else:
            rejected = middle
        if middle in (accepted, rejected) and abs(accepted - rejected) < 1e-15:
            break
    return accepted


def pairs_needed(difference: float, discordance: float, level: float, effect: float) -> int:
    """Connor's number of pairs for a chance of 80 %; `level` is one claim's, two-sided."""
    apart = max(discordance, difference)
    reach = NORMAL.inv_cdf(1 - level / 2) * math.sqrt(apart) + NORMAL.inv_cdf(0.8) * math.sqrt(apart - difference**2)
    return math.ceil(effect * (reach / difference) ** 2)


def pairs_to_exclude(margin: float, discordance: float, level: float, effect: float) -> int:
    """Pairs that exclude a rise by the margin with a chance of 80 % where there is none; `level` is one-sided."""
    return math.ceil(effect * (NORMAL.inv_cdf(1 - level) + NORMAL.inv_cdf(0.8)) ** 2 * discordance / margin**2)
