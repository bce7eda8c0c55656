"""Words: what the phrasings say is what the verifier's own dictionary reads."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from millrace.digits.kinds import claim_kinds
from millrace.digits.kinds.recognition import LABELS
from millrace.digits.phrasing import Phrasing, load_phrasing
from millrace.digits.question_rules import read_value
from millrace.digits.verifiers import read_answer, read_statement
from millrace.digits.verifiers._reading import ABSENT, names_subject
from millrace.lake.places import QUARTERS
from millrace.qa.writing import answer_vocabulary
from millrace.qa.writing.answer_vocabulary import NONE
from millrace.qa.writing.pipelines import load_pipelines
from millrace.qa.writing.wordings import BLANK

LANGUAGES = ("en", "zh")
VALUES = {"label": LABELS, **answer_vocabulary.VALUES}
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


def words_in(language: str) -> Phrasing:
    found = load_phrasing(language)
    assert found is not None
    return found


def test_every_aspect_of_every_pipeline_has_a_subject_here() -> None:
    asked = {aspect for kind in claim_kinds().values() for aspect in load_pipelines()[kind.PIPELINE].aspects}
    assert SUBJECTS.keys() == asked == VALUES.keys()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_form_is_worded_in_six_ways_or_more(language: str) -> None:
    phrasing = words_in(language)
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
    phrasing = words_in(language)
    for aspect, values in VALUES.items():
        for value in values:
            assert read_answer(aspect, phrasing.option(aspect, value)) == value
        if aspect != "count":
            assert read_answer(aspect, phrasing.option(aspect, NONE)) == ABSENT
        for value in QUARTERS if aspect == "area" else values:
            assert read_answer(aspect, phrasing.fill(aspect, value)) == value


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_verifier_reads_every_statement_and_finds_its_subject(language: str) -> None:
    phrasing = words_in(language)
    for aspect, selectors in SUBJECTS.items():
        for number, template in enumerate(phrasing.templates(aspect, "yes_no")):
            words = phrasing.words(selectors, Random(number))
            for value in VALUES[aspect]:
                question = phrasing.say(template, words, phrasing.name(aspect, value))
                assert read_statement(aspect, question) == value, question
                assert names_subject(question, selectors), question


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_question_names_its_subject_and_leaves_no_placeholder(language: str) -> None:
    phrasing = words_in(language)
    for aspect, selectors in SUBJECTS.items():
        for form in ("multiple_choice", "fill_in_blank"):
            for number, template in enumerate(phrasing.templates(aspect, form)):
                question = phrasing.say(template, phrasing.words(selectors, Random(number)))
                assert "{" not in question
                assert aspect == "label" or names_subject(question, selectors), question
        explanation = phrasing.explanations[aspect]
        said = phrasing.say(explanation, phrasing.words(selectors, Random(1)), phrasing.name(aspect, VALUES[aspect][0]))
        assert "{" not in said
        absent = phrasing.nothing.get(aspect)
        assert aspect == "count" or (absent and "{" not in phrasing.say(absent, phrasing.words(selectors, Random(1))))


def test_another_subject_is_noticed() -> None:
    assert not names_subject("Where is the red 7?", {"TARGET_OBJECT": {"colour": "red", "label": 1}})
    assert not names_subject("Where is the red 7?", {"TARGET_OBJECT": {"label": 7}})
    assert not names_subject("How many digits are there?", {"OBJECT_TYPE": {"colour": "red"}})


def test_articles_go_with_the_word_that_follows() -> None:
    phrasing = words_in("en")
    assert phrasing.say("is there a {bare} here?", {"bare": "orange digit"}) == "Is there an orange digit here?"
    assert phrasing.say("is it a {value}?", {}, "8") == "Is it an 8?"
    assert phrasing.say("is it a {value}?", {}, "7") == "Is it a 7?"


@pytest.mark.parametrize(("words", "value"), [("digit 7", "7"), ("a 3 or an 8", None), ("not related", NONE), ("17", None)])
def test_a_digit_is_read_out_of_what_models_say(words: str, value: str | None) -> None:
    assert read_value("label", words) == value
