"""Options that give nothing away."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.lake.places import REGIONS, TURNS
from millrace.qa.settings import QuestionTypeRatio
from millrace.qa.writing.answer_vocabulary import NONE
from millrace.qa.writing.option_balance import Cell, Survey, capped, fit, make_plan

SHARES = QuestionTypeRatio().shares()


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.just(0.0) | st.floats(0.01, 500), min_size=1),
    st.sampled_from([0.25, 0.4, 0.5]),
)
@settings(deadline=None)
def test_a_cap_never_adds_and_leaves_no_value_above_its_share(wanted: dict[str, float], most: float) -> None:
    kept = capped(wanted, most)
    total = sum(kept.values())
    assert all(0 <= kept[value] <= wanted[value] + 1e-9 for value in wanted)
    slack = (most * (1 - most) / sum(wanted.values())) ** 0.5 if sum(wanted.values()) else 0
    assert all(amount <= (most + slack) * total + 1e-3 for amount in kept.values())


def test_an_even_set_is_not_cut() -> None:
    assert capped(dict.fromkeys("abcdefghi", 30.0), 0.25) == pytest.approx(dict.fromkeys("abcdefghi", 30.0))


def lopsided_cells(values: tuple[str, ...], weights: list[float], favourite: str, count: int, rng: Random) -> list[Cell]:
    """Failures with skewed right answers, of a model that mostly says its favourite."""
    cells = []
    for right in rng.choices(values, weights, k=count):
        wrong = tuple(value for value in values if value != right)
        said = favourite if favourite != right and rng.random() < 0.7 else rng.choice(wrong)
        cells.append(Cell("family", right, wrong, said, options=True, sole=True, presence=False))
    return cells


RIGHT = st.sampled_from(["a", "b", "c", "d", NONE])
CELLS = st.builds(
    lambda right, said, options, sole, presence: Cell(
        "family", right, tuple(value for value in ("a", "b", "c", "d", NONE) if value != right), said, options, sole, presence
    ),
    RIGHT,
    st.none() | RIGHT,
    st.booleans(),
    st.booleans(),
    st.booleans(),
).filter(lambda cell: cell.baseline != cell.right)


@given(st.dictionaries(CELLS, st.integers(1, 20), min_size=1, max_size=6), st.lists(st.integers(0, 9), min_size=3, max_size=3))
@settings(deadline=None, max_examples=25)
def test_a_survey_of_a_few_failures_has_a_plan_whose_chances_are_chances(survey: dict[Cell, int], weights: list[int]) -> None:
    shares = {name: weight / 10 for name, weight in zip(SHARES, weights, strict=True)}
    for capping in (True, False):
        plan = make_plan(survey, shares, capping=capping)
        chances = [chance for form in plan.family("family").forms.values() for chance in form.values()]
        assert all(0 <= chance <= 1 + 1e-9 for chance in chances)


def test_what_rounding_leaves_of_a_used_up_cell_is_no_failure_that_is_left() -> None:
    gone = Cell("family", NONE, ("a", "b", "c", "d"), "a", options=True, sole=False, presence=True)
    denied = Cell("family", "a", ("b", "c", "d", NONE), NONE, options=False, sole=False, presence=True)
    amounts = (7 / 10, 1 / 10, 1 / 5)
    for count in range(1, 12):
        shares = dict(zip(SHARES, amounts, strict=True))
        make_plan({gone: count, denied: count}, shares, capping=False)


@pytest.mark.parametrize("form", ["multiple_choice", "yes_no"])
def test_every_value_is_wrong_as_often_as_balance_asks(form: str) -> None:
    rng = Random(3)
    count = 3 if form == "multiple_choice" else 1
    cells = lopsided_cells(REGIONS, [5, 1, 2, 1, 1, 1, 3, 1, 2], "centre", 4000, rng)
    draw = fit(Counter(cells), count)
    right, wrong = Counter(cell.right for cell in cells), Counter[str]()
    for cell in cells:
        picked = draw.pick(cell.wrong, cell.baseline, count, rng)
        assert len(set(picked)) == count
        assert cell.right not in picked
        wrong.update(picked)
    for value in REGIONS:
        shown = wrong[value] / (wrong[value] + right[value])
        assert shown == pytest.approx(count / (count + 1), abs=0.05), value


def test_what_is_never_right_is_hardly_shown_although_the_model_always_says_it() -> None:
    rng = Random(4)
    cells = lopsided_cells((*TURNS, "none"), [0, 1, 1, 1, 1], "upright", 2000, rng)
    draw = fit(Counter(cells), 3)
    picked = Counter(value for cell in cells for value in draw.pick(cell.wrong, cell.baseline, 3, rng))
    assert picked["upright"] < 0.02 * picked.total()


def test_forms_of_a_family_with_one_common_answer_are_cut_to_what_balance_allows() -> None:
    values = tuple("123456")
    cells: Survey = Counter(lopsided_cells(values, [20, 1, 1, 1, 1, 1], "2", 3000, Random(5)))
    plan = make_plan(cells, SHARES).family("family")
    assert plan.forms["multiple_choice"]["1"] < 0.3 * plan.forms["multiple_choice"]["3"]
    whole = make_plan(cells, SHARES, capping=False).family("family")
    assert whole.forms["multiple_choice"]["1"] == pytest.approx(SHARES["multiple_choice"])


def test_a_family_that_nobody_counted_has_no_preferences() -> None:
    assert make_plan(Counter(), SHARES).family("unknown").forms == {}


def test_a_plan_survives_the_way_to_another_process() -> None:
    import pickle

    survey: Survey = Counter(lopsided_cells(REGIONS, [1] * 9, "centre", 50, Random(1)))
    plan: Any = make_plan(pickle.loads(pickle.dumps(survey)), SHARES)
    assert pickle.loads(pickle.dumps(plan)) == plan
