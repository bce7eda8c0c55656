"""Differences as a report shows them."""

from __future__ import annotations

import pytest

from millrace.reporting.charts import NBSP, points, signed_axis_for, span_points


@pytest.mark.parametrize(
    ("difference", "text"),
    [(-0.0521, "−5.2 points"), (0.031, "+3.1 points"), (0.0, "0.0 points"), (-0.0001, "0.0 points"), (None, "not measured")],
)
def test_a_difference_has_its_sign_and_its_unit(difference: float | None, text: str) -> None:
    assert points(difference).replace(NBSP, " ") == text


def test_a_size_has_no_sign() -> None:
    assert points(-0.02, signed=False).replace(NBSP, " ") == "2.0 points"


def test_an_interval_names_its_unit_once() -> None:
    assert span_points(-0.091, 0.013).replace(NBSP, " ") == "−9.1 to +1.3 points"
    assert span_points(None, None) == "not measured"


@pytest.mark.parametrize(("values", "reach"), [([0.01], 0.05), ([-0.07, 0.02], 0.1), ([0.3], 0.5), ([-1.0], 1.0), ([], 0.1)])
def test_an_axis_of_differences_reaches_as_far_on_both_sides(values: list[float], reach: float) -> None:
    axis = signed_axis_for(values)
    assert axis.ticks == (-reach, -reach / 2, 0.0, reach / 2, reach)
    assert [axis.place(tick) for tick in axis.ticks] == [0.0, 25.0, 50.0, 75.0, 100.0]
