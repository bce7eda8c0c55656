from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.records.summaries import RateSummary
from millrace.reporting.intervals import Rate, wilson

counts = st.integers(0, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("failures", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (1, 10, 0.0179, 0.4042),
        (15, 100, 0.0931, 0.2328),
        (500, 1000, 0.4691, 0.5309),
    ],
)
def test_the_interval_agrees_with_published_tables(failures: int, n: int, low: float, high: float) -> None:
    assert wilson(failures, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(counts)
def test_the_interval_holds_the_rate_and_stays_between_0_and_1(count: tuple[int, int]) -> None:
    failures, n = count
    interval = wilson(failures, n)
    if n == 0:
        assert interval is None
    else:
        assert interval is not None
        assert 0 <= interval[0] <= failures / n <= interval[1] <= 1
        assert interval[0] < interval[1]


def test_nothing_counted_is_unknown_and_not_zero() -> None:
    assert Rate(0, 0).summary() == RateSummary(n=0, failures=0, rate=None, low=None, high=None)


@pytest.mark.parametrize(("failures", "n"), [(-1, 5), (6, 5), (1, 0)])
def test_more_failures_than_items_is_an_error(failures: int, n: int) -> None:
    with pytest.raises(ValueError, match="not a rate"):
        wilson(failures, n)
    with pytest.raises(ValueError, match="not a rate"):
        Rate(failures, n)
