"""The one spelling of answers: what models and judges say is read into it, and the scale of area shares covers every share."""

from __future__ import annotations

import pytest

from millrace.qa.writing.answer_vocabulary import LADDERS, nearest_rung, read_value


@pytest.mark.parametrize(
    ("aspect", "words", "value"),
    [
        ("region", "Upper left", "top left"),
        ("region", "center", "centre"),
        ("region", "somewhere", None),
        ("label", "digit 7", None),
        ("count", "NOT_RELATED", "0"),
        ("region", "not related", "none"),
        ("percent", "about 4.3 %", "4%"),
        ("percent", "0%", None),
        ("turn", "Upside down.", "upside down"),
        ("area", "the top left quarter", "top left"),
        ("direction", "left of", "left of"),
    ],
)
def test_what_models_and_judges_say_is_read_as_a_value_or_not_at_all(aspect: str, words: str, value: str | None) -> None:
    assert read_value(aspect, words) == value


def test_any_share_of_the_area_is_within_a_quarter_of_its_rung() -> None:
    for tenth in range(8, 300):
        share = tenth / 10
        rung = float(nearest_rung(share).rstrip("%"))
        assert 0.8 <= share / rung <= 1.25
    assert not set(LADDERS[0]) & set(LADDERS[1])
