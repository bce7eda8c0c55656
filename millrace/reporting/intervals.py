"""How sure a measured rate is: Wilson score intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from millrace.records.outcome import FAILURES, SUCCESSES
from millrace.records.summaries import RateSummary

Z_95 = 1.959963984540054
"""Standard normal quantile for a two-sided interval of 95 %."""


class Rate(msgspec.Struct, frozen=True):
    """`failures` out of `n`, with what that says about the true rate. Nothing counted is unknown (None), not zero."""

    failures: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.failures <= self.n:
            raise ValueError(f"{self.failures} failures of {self.n} is not a rate")

    @property
    def rate(self) -> float | None:
        """The share that failed, 0 to 1; None when nothing was counted."""
        return self.failures / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """(low, high), 95 %; None when nothing was counted."""
        return wilson(self.failures, self.n)

    def summary(self) -> RateSummary:
        """The shape that `summary.json` has."""
        low, high = self.interval or (None, None)
        return RateSummary(n=self.n, failures=self.failures, rate=self.rate, low=low, high=high)


def rate_of(outcomes: Mapping[str, int]) -> Rate:
    """The failure rate of counted outcomes: the model's failures among what tells something about the model."""
    failures = sum(outcomes.get(name, 0) for name in FAILURES)
    return Rate(failures, failures + sum(outcomes.get(name, 0) for name in SUCCESSES))


def wilson(failures: int, n: int, z: float = Z_95) -> tuple[float, float] | None:
    """The Wilson score interval of `failures` out of `n`, as (low, high) within 0 to 1; None when n is 0.

    Unlike the textbook interval (rate plus or minus) it stays inside 0 to 1, is not empty at 0 or n failures, and holds its 95 %
    down to small n. See Wilson (1927), https://doi.org/10.1080/01621459.1927.10502953.

    Covers: the chance in which items were drawn, each independently. Does not cover: several claims about one image, which go
    together, nor a judge that errs.
    """
    if not 0 <= failures <= n:
        raise ValueError(f"{failures} failures of {n} is not a rate")
    if n == 0:
        return None
    rate, z2 = failures / n, z * z
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    low = 0.0 if failures == 0 else max(0.0, centre - half)
    high = 1.0 if failures == n else min(1.0, centre + half)
    return low, high
