"""The embedded baseline as the ranks and the question stage use it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from millrace.digits.baseline.embedded import EmbeddedBaseline
from millrace.digits.claim_vocabulary import NOT_RELATED
from millrace.digits.subjects import choose_subject
from millrace.plugins.contracts import completed
from millrace.probing.baselines import Baseline, ClaimPrompt, Completion, Question
from millrace.probing.claims import load_claims
from millrace.probing.prompts import write_prompt
from millrace.testing.kinds.baseline import PROMISES
from tests.digits.hand_scenes import drawn_scenes

CLAIMS = load_claims("default")
SCENES = drawn_scenes(12)
SLOW_START = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def prompts_for(number: int) -> list[ClaimPrompt]:
    annotated = SCENES[number][1]
    chosen = [(claim, choose_subject(claim, annotated, seed=1, image_id=str(number))) for claim in CLAIMS.claims]
    return [write_prompt(claim, subject) for claim, subject in chosen if subject is not None]


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_it_keeps_the_contract_of_baselines(small_baseline: EmbeddedBaseline, promise: Callable[[Baseline], None]) -> None:
    promise(completed(small_baseline, Baseline, "the baseline 'embedded'"))


@pytest.mark.parametrize("number", range(len(SCENES)))
def test_every_prompt_is_completed_with_allowed_values_or_left(small_baseline: EmbeddedBaseline, number: int) -> None:
    prompts = prompts_for(number)
    replies = small_baseline.complete(SCENES[number][0], prompts)
    assert len(replies) == len(prompts)
    for prompt, reply in zip(prompts, replies, strict=True):
        assert isinstance(reply, Completion)
        assert reply.confidence is not None
        assert 0 < reply.confidence <= 1
        if not reply.related:
            assert (reply.values, reply.text) == ({}, NOT_RELATED)
            continue
        assert set(reply.values) == set(prompt.slots)
        assert all(not allowed or reply.values[slot] in allowed for slot, allowed in prompt.slots.items())
        assert "[" not in reply.text
        assert all(value in reply.text for value in reply.values.values())


def test_a_reply_does_not_depend_on_what_else_is_asked_or_on_what_was_asked_before(small_baseline: EmbeddedBaseline) -> None:
    for number in range(4):
        image, prompts = SCENES[number][0], prompts_for(number)
        together = small_baseline.complete(image, prompts)
        alone = [small_baseline.complete(image, [prompt])[0] for prompt in reversed(prompts)]
        assert together == alone[::-1]


def test_one_broken_prompt_costs_one_reply(small_baseline: EmbeddedBaseline) -> None:
    good = prompts_for(0)[0]
    broken = ClaimPrompt(claim_id="broken", text=None, slots={"COUNT": ["1"]})  # type: ignore[arg-type]
    replies = small_baseline.complete(SCENES[0][0], [good, broken, good])
    assert isinstance(replies[1], Exception)
    assert replies[0] == replies[2]
    assert isinstance(replies[0], Completion)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "CMYK", "I;16"])
def test_pictures_of_every_mode_and_shape_are_looked_at(small_baseline: EmbeddedBaseline, mode: str) -> None:
    picture = Image.new("RGB", (50, 300), "white").convert("L" if mode == "I;16" else mode)
    picture = Image.new("I;16", (50, 300)) if mode == "I;16" else picture
    assert len(small_baseline.complete(picture, prompts_for(0))) == len(prompts_for(0))


def test_a_claim_of_a_users_own_set_is_answered_in_its_own_words(small_baseline: EmbeddedBaseline) -> None:
    prompt = ClaimPrompt(
        "mine", "You will find the red digit [ABSOLUTE_REGION].", {"ABSOLUTE_REGION": ["Upper-Left", "Lower-Right"]}
    )
    unknown = ClaimPrompt("other", "This is [SYSTEM_CONCEPT].", {"SYSTEM_CONCEPT": []})
    replies = small_baseline.complete(SCENES[1][0], [prompt, unknown])
    for reply, allowed in zip(replies, ({"Upper-Left", "Lower-Right"}, None), strict=True):
        assert isinstance(reply, Completion)
        assert not reply.related or allowed is None or set(reply.values.values()) <= allowed


QUESTIONS = [
    Question("How many red digits are there?", {"A": "1", "B": "2", "C": "3", "D": "0"}, "multiple_choice"),
    Question(
        "Where is the blue 7?",
        {"A": "top left", "B": "centre", "C": "bottom right", "D": "there is no such digit"},
        "multiple_choice",
    ),
    Question("Which way does the top of the 4 point?", {"A": "up", "B": "down", "C": "left", "D": "right"}, "multiple_choice"),
    Question("Is the 7 above the 3?", {"A": "Yes", "B": "No"}, "yes_no"),
    Question("Are there exactly 2 red digits?", {"yes": "yes", "no": "no"}, "yes_no"),
    Question("What is the meaning of life?", {"A": "a cat", "B": "a dog"}, "multiple_choice"),
    Question("图中有几个红色的数字？", {"A": "1", "B": "2"}, "multiple_choice"),
    Question("", {"A": "", "B": ""}, "multiple_choice"),
]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.text[:20])
def test_an_answer_is_always_the_key_of_an_option(small_baseline: EmbeddedBaseline, question: Question) -> None:
    for image, _, _ in SCENES[:4]:
        assert small_baseline.answer(image, [question])[0] in question.options


def test_free_answers_are_words_and_yes_or_no(small_baseline: EmbeddedBaseline) -> None:
    blank = Question("The red digit lies in the ____ part of the picture.", {}, "fill_in_blank")
    yes_no = Question("Is there a 3 in the picture?", {}, "yes_no")
    word, decision = small_baseline.answer(SCENES[0][0], [blank, yes_no])
    assert word
    assert decision in {"yes", "no"}


def test_the_order_of_the_options_does_not_matter(small_baseline: EmbeddedBaseline) -> None:
    texts = ["1", "2", "3", "4"]
    for image, _, _ in SCENES:
        chosen = {
            order[small_baseline.answer(image, [Question("How many digits are there?", order, "multiple_choice")])[0]]
            for order in (dict(zip("ABCD", texts, strict=True)), dict(zip("ABCD", reversed(texts), strict=True)))
        }
        assert len(chosen) == 1


@SLOW_START
@given(text=st.text(), options=st.dictionaries(st.text(min_size=1, max_size=2), st.text(), min_size=2, max_size=4))
def test_no_question_makes_it_stumble(small_baseline: EmbeddedBaseline, text: str, options: dict[str, str]) -> None:
    assert small_baseline.answer(SCENES[0][0], [Question(text, options, "multiple_choice")])[0] in options
    assert small_baseline.answer(SCENES[0][0], [Question(text, options, "yes_no")])[0] in {*options, "yes", "no"}


def test_the_fingerprint_is_the_same_for_the_same_weights(small_baseline: EmbeddedBaseline) -> None:
    assert small_baseline.fingerprint.startswith("embedded_")
    assert len(small_baseline.fingerprint) > 15
