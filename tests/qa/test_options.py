"""Invariants of options and answers, for any draft that a writer may hand in."""

from __future__ import annotations

import string
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from millrace.lake.rows import LakeRow
from millrace.qa.checking.question_checks import RULES, answer_is_not_leaked, plain
from millrace.qa.items import KEYS, build_item
from millrace.qa.settings import QaSettings
from millrace.qa.writers import Draft, Option, Request
from millrace.qa.writing.case import Case
from millrace.qa.writing.write_shards import deal_positions
from millrace.records.lake import ImageRef
from millrace.records.question import Item, QuestionType
from millrace.records.selection import Selection

words = st.text(alphabet=string.ascii_lowercase, min_size=2, max_size=10)


def case(name: str = "sel_1") -> Case:
    record = {
        "id": name,
        "sample_index": 0,
        "source_a": {"id": "img", "image_path": "a.parquet", "row": 3, "sha256": "ab"},
        "prefill": {"claim": "a claim"},
        "pipeline_type": "object_position",
        "failure_id": "FR_X",
        "claim_id": "c",
        "selectors": {},
        "answerable": True,
        "lineage": {"outcome_id": "out_1", "outcome": "wrong"},
    }
    return Case(msgspec.convert(record, Selection), LakeRow(ImageRef("img", "a.parquet", 3, "ab"), b"", None, None, {}))


ASKED = ("which", "of", "these", "is", "complete", "the", "sentence")
"""Words of the questions below: an answer among them would be given away."""


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    form = draw(st.sampled_from(["multiple_choice", "yes_no", "fill_in_blank"]))
    if form == "yes_no":
        yes, no = Option("Yes", "yes", "right"), Option("No", "no", "negation")
        true = draw(st.booleans())
        right, wrong = (yes, (no,)) if true else (Option("No", "no", "right"), (Option("Yes", "yes", "negation"),))
        return Draft("yes_no", f"Is it {draw(words)} there?", right, wrong)
    texts = draw(st.lists(words.filter(lambda word: word.casefold() not in ASKED), min_size=4, max_size=4, unique=True))
    right = Option(texts[0], texts[0], "right")
    if form == "fill_in_blank":
        return Draft("fill_in_blank", "Complete the sentence: 1234 ____.", right, accepted=tuple(texts[1:2]))
    wrong = tuple(Option(text, text, "other") for text in texts[1:])
    return Draft("multiple_choice", "Which of these is 1234?", right, wrong)


def failed_check(item: Item) -> str | None:
    """The first check that is not passed. Random words may differ in length, so `style` does not count here."""
    return next((name for name, rule in RULES.items() if name != "style" and rule(item)), None)


@given(drafts(), st.integers(0, 3))
@settings(deadline=None)
def test_a_well_formed_draft_becomes_an_item_with_one_right_option(draft: Draft, position: int) -> None:
    item = build_item(draft, Request(case()), position, QaSettings(), "w")
    assert failed_check(item) is None
    if draft.question_type == "fill_in_blank":
        assert (item.options, item.correct_option, item.answer) == ({}, None, draft.right.text)
        return
    assert item.options[item.answer] == draft.right.text == item.answer_text
    assert item.answer == item.correct_option
    assert list(item.options) == list(KEYS[: len(item.options)])
    assert item.distractors.keys() == item.options.keys() - {item.answer}
    if draft.question_type == "multiple_choice":
        assert item.answer == KEYS[position]
        assert len(item.options) == 4
    assert all(f"{key}: {text}" in item.full_question for key, text in item.options.items())


@given(drafts(), st.data())
@settings(deadline=None)
def test_every_way_to_break_an_items_answer_is_noticed(draft: Draft, data: st.DataObject) -> None:
    item = build_item(draft, Request(case()), 1, QaSettings(), "w")
    options = dict(item.options)
    if not options:
        breakages: list[dict[str, Any]] = [
            {"answer": ""},
            {"answer": 3},
            {"answer": "other"},
            {"correct_option": "A"},
            {"options": {"A": "x"}},
        ]
    else:
        other = next(key for key in options if key != item.answer)
        breakages = [
            {"answer": item.answer_text},  # text in the field for the key: the original's defect
            {"answer": "E"},
            {"answer": None},
            {"correct_option": other},
            {"answer": other},
            {"answer": other, "correct_option": other},
            {"options": options | {other: options[item.answer].upper()}},
            {"options": {key: text for key, text in options.items() if key != other}},
            {"options": options | {"E": "more"}},
            {"options": options | {other: "..."}},
            {"options": dict(reversed(options.items()))},
            {"full_question": item.question},
        ]
    breakages += [{"question": "?"}, {"question": "Where is the [OBJECT] now?"}, {"question": item.question + " ____ ____"}]
    assert failed_check(structs.replace(item, **data.draw(st.sampled_from(breakages))))


@pytest.mark.parametrize(
    ("question", "answer", "leaks"),
    [
        ("Is the 7 in the top left part? Where is it?", "top left", True),
        ("Which way does the top of the 7 point?", "top left", False),
        ("How many 2s are there?", "2", False),
        ("The 2 is shown how many times?", "2", True),
        ("How much of it does the box around the 4 take?", "about 4%", False),
        ("Look up or down: which way does it point?", "up", True),
        ("In one word (up, right, down or left), where does it point? It points ____.", "up", False),
    ],
)
def test_a_leak_is_the_answers_words_in_the_question_and_not_a_list_of_all(question: str, answer: str, leaks: bool) -> None:
    gap = "____" in question
    form: QuestionType = "fill_in_blank" if gap else "multiple_choice"
    options = {} if gap else {"A": answer, "B": "something else"}
    made = build_item(
        Draft(form, question, Option(answer, answer, "right"), aspect="point"), Request(case()), 0, QaSettings(), "w"
    )
    item = structs.replace(made, options=options)
    assert bool(answer_is_not_leaked(item)) == leaks


@given(st.lists(words, unique=True, min_size=1, max_size=60), st.integers(0, 5))
def test_places_are_dealt_evenly_whatever_the_order_of_the_requests(names: list[str], seed: int) -> None:
    requests = [Request(case(name)) for name in names]
    dealt = deal_positions(requests, seed)
    assert dealt == deal_positions(requests[::-1], seed)
    counts = [list(dealt.values()).count(place) for place in range(4)]
    assert max(counts) - min(counts) <= 1


@given(st.text(max_size=30))
def test_plain_text_stays_as_it_is_when_it_is_made_plain_again(text: str) -> None:
    assert plain(plain(text)) == plain(text)
