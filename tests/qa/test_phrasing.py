"""Words: what the phrasings say is what the verifier's own dictionary reads."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from millrace.digits.questions.lexicon import ABSENT, names_subject, read_answer, read_statement
from millrace.qa.writing.answer_vocabulary import LADDERS, NONE, QUARTERS, VALUES, nearest_rung, read_value
from millrace.qa.writing.phrasing import BLANK, load_phrasing
from millrace.qa.writing.pipelines import load_pipelines

LANGUAGES = ("en", "zh")
SUBJECTS: dict[str, dict[str, Any]] = {
    "label": {},
    "region": {"TARGET_OBJECT": {"label": 7, "colour": "orange"}},
    "direction": {"OBJECT_A": {"label": 8}, "OBJECT_B": {"colour": "black"}},
    "place": {"OBJECT_CATEGORY": {"colour": "blue"}, "DISTINCTIVE_FEATURE": {"label": 3}},
    "percent": {"TARGET_OBJECT": {"label": 4}},
    "count": {"OBJECT_TYPE": {"label": 5, "colour": "red"}},
    "area": {"OBJECT_TYPE": {}},
    "point": {"OBJECT": {"label": 7}},
    "turn": {"OBJECT": {"colour": "green"}},
}


def test_every_aspect_of_every_pipeline_has_a_subject_here() -> None:
    assert SUBJECTS.keys() == {aspect for pipeline in load_pipelines().values() for aspect in pipeline.aspects} == VALUES.keys()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_form_is_worded_in_six_ways_or_more(language: str) -> None:
    phrasing = load_phrasing(language)
    for aspect in SUBJECTS:
        for form in ("multiple_choice", "yes_no", "fill_in_blank"):
            templates = phrasing.templates(aspect, form)
            if (aspect, form) == ("percent", "fill_in_blank"):
                assert templates == []  # "about" how much has no single wording
                continue
            assert len(set(templates)) >= 6, (aspect, form)
            gaps = [template.count(BLANK) for template in templates]
            assert gaps == [int(form == "fill_in_blank")] * len(templates), (aspect, form)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_verifier_reads_every_option_as_what_was_meant(language: str) -> None:
    phrasing = load_phrasing(language)
    for aspect, values in VALUES.items():
        for value in values:
            assert read_answer(aspect, phrasing.option(aspect, value)) == value
        if aspect != "count":
            assert read_answer(aspect, phrasing.option(aspect, NONE)) == ABSENT
        for value in QUARTERS if aspect == "area" else values:
            assert read_answer(aspect, phrasing.fill(aspect, value)) == value


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_verifier_reads_every_statement_and_finds_its_subject(language: str) -> None:
    phrasing = load_phrasing(language)
    for aspect, selectors in SUBJECTS.items():
        for number, template in enumerate(phrasing.templates(aspect, "yes_no")):
            words = phrasing.words(selectors, Random(number))
            for value in VALUES[aspect]:
                question = phrasing.say(template, words, phrasing.name(aspect, value))
                assert read_statement(aspect, question) == value, question
                assert names_subject(question, selectors), question


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_question_names_its_subject_and_leaves_no_placeholder(language: str) -> None:
    phrasing = load_phrasing(language)
    for aspect, selectors in SUBJECTS.items():
        for form in ("multiple_choice", "fill_in_blank"):
            for number, template in enumerate(phrasing.templates(aspect, form)):
                question = phrasing.say(template, phrasing.words(selectors, Random(number)))
                assert "{" not in question
                assert aspect == "label" or names_subject(question, selectors), question
        explanation = getattr(phrasing.explanations, aspect)
        said = phrasing.say(explanation, phrasing.words(selectors, Random(1)), phrasing.name(aspect, VALUES[aspect][0]))
        assert "{" not in said
        absent = phrasing.explanations.nothing.get(aspect)
        assert aspect == "count" or (absent and "{" not in phrasing.say(absent, phrasing.words(selectors, Random(1))))


def test_another_subject_is_noticed() -> None:
    assert not names_subject("Where is the red 7?", {"TARGET_OBJECT": {"colour": "red", "label": 1}})
    assert not names_subject("Where is the red 7?", {"TARGET_OBJECT": {"label": 7}})
    assert not names_subject("How many digits are there?", {"OBJECT_TYPE": {"colour": "red"}})


def test_articles_go_with_the_word_that_follows() -> None:
    phrasing = load_phrasing("en")
    assert phrasing.say("is there a {bare} here?", {"bare": "orange digit"}) == "Is there an orange digit here?"
    assert phrasing.say("is it a {value}?", {}, "8") == "Is it an 8?"
    assert phrasing.say("is it a {value}?", {}, "7") == "Is it a 7?"


@pytest.mark.parametrize(
    ("aspect", "words", "value"),
    [
        ("region", "Upper left", "top left"),
        ("region", "center", "centre"),
        ("region", "somewhere", None),
        ("label", "digit 7", "7"),
        ("label", "a 3 or an 8", None),
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
