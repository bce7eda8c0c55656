"""JSON answers: found, mended, checked, asked for again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.errors import UsageError
from millrace.llm import Reply, Request, user
from millrace.llm.client.json_repair import json_in
from millrace.llm.client.structured import first_problem, parsed
from millrace.llm.example_values import example_of
from millrace.llm.failures import ReplyInvalid
from millrace.run.ids import random_for
from tests.llm.servers import opened, run, serving

SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "sure": {"type": "number", "minimum": 0, "maximum": 1}},
    "required": ["answer", "sure"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [1, 2]}',
        'Here you are:\n```json\n{"a": [1, 2]}\n```\nAnything else?',
        '```\n{"a": [1, 2]}\n```',
        '<think>{"a": 0}? no</think>{"a": [1, 2]}',
        'The value is {"a": [1, 2]}, I think.',
        '{"a": [1, 2,],}',
        'Set {x} and then {"a": [1, 2]}',
    ],
)
def test_a_value_is_found_in_what_is_around_it(text: str) -> None:
    assert json_in(text) == {"a": [1, 2]}


THOUGHTS = [
    'Maybe {"a": 0}? No.</think>{"a": [1, 2]}',
    '<think>{"a": 0}</think>\n\n{"a": [1, 2]}',
    '<thinking>\n```json\n{"a": 0}\n```\n</thinking>\n```json\n{"a": [1, 2]}\n```',
    '<reasoning>{"a": 0}</reasoning>Here: {"a": [1, 2]}',
    '<thought>{"a": 0}</thought><thought>{"a": 3}</thought>{"a": [1, 2]}',
    '<seed:think>{"a": 0}</seed:think>{"a": [1, 2]}',
    '[THINK]{"a": 0}[/THINK]{"a": [1, 2]}',
    '◁think▷{"a": 0}◁/think▷{"a": [1, 2]}',
    '<think>they close <think> by </think>, so {"a": 0}</think>{"a": [1, 2]}',
    '{"a": [1, 2]}\n<think>was {"a": 0} better?</think>',
    '{"a": [1, 2]}\n<think>was {"a": 0} better',
    '<antThinking>{"a": 0}</antThinking>{"a": [1, 2]}',
    '<inner_thoughts>{"a": 0}</inner_thoughts>{"a": [1, 2]}',
    '<internal_monologue>{"a": 0}</internal_monologue>{"a": [1, 2]}',
    '<plan>{"a": 0}</plan>{"a": [1, 2]}',
    '&lt;think&gt;{"a": 0}&lt;/think&gt;{"a": [1, 2]}',
    '< think >{"a": 0}</ think >{"a": [1, 2]}',
    '<|reasoning_start|>{"a": 0}<|reasoning_end|>{"a": [1, 2]}',
    'My reasoning: {"a": 0}\n[BEGIN FINAL RESPONSE]\n{"a": [1, 2]}\n[END FINAL RESPONSE]',
    'Here is my thought process: {"a": 0}\nHere is my response: {"a": [1, 2]}',
    '<|channel|>analysis<|message|>{"a": 0}<|end|><|start|>assistant<|channel|>final<|message|>{"a": [1, 2]}<|return|>',
    '<|channel|>analysis<|message|>{"a": 0}<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>{"a": [1, 2]}',
    'analysisShould it be {"a": 0}? No.assistantfinal{"a": [1, 2]}',
    '<|channel>thought\n{"a": 0}<channel|>{"a": [1, 2]}',
    '<|START_THINKING|>{"a": 0}<|END_THINKING|><|START_RESPONSE|>{"a": [1, 2]}<|END_RESPONSE|>',
]


@pytest.mark.parametrize("text", THOUGHTS)
def test_a_draft_in_the_thoughts_is_never_taken_for_the_answer(text: str) -> None:
    assert json_in(text) == {"a": [1, 2]}


@pytest.mark.parametrize(
    "text",
    [
        '<think>{"a": 0}</think>',
        '<think>{"a": 0}, or rather',
        '{"a": 0}, or rather</thinking>\n',
        '<|channel|>analysis<|message|>{"a": 0}<|end|>',
    ],
)
def test_thoughts_without_an_answer_hold_no_answer(text: str) -> None:
    with pytest.raises(ValueError, match="no JSON"):
        json_in(text)


@pytest.mark.parametrize("words", ["</think>", "a <think>b</think> c", "<thinking>"])
def test_an_answer_that_speaks_of_marks_is_taken_whole(words: str) -> None:
    assert json_in(f'Here:\n```json\n{{"a": "{words}", "b": 1}}\n```') == {"a": words, "b": 1}


def test_pythons_spellings_are_mended_outside_of_strings_only() -> None:
    assert json_in('{"a": True, "b": None, "c": "None, True,]"}') == {"a": True, "b": None, "c": "None, True,]"}


def test_a_raw_line_break_in_a_string_is_taken() -> None:
    assert json_in('{"a": "one\ntwo"}') == {"a": "one\ntwo"}


@pytest.mark.parametrize("text", ["", "no json here", '{"a": [1, 2', "{" * 20_000, "[" * 5_000, '```json\n{"a": \n```'])
def test_what_is_no_json_or_broke_off_is_not_guessed(text: str) -> None:
    with pytest.raises(ValueError, match="no JSON"):
        json_in(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150)
@given(st.dictionaries(st.text(max_size=8), values, max_size=4))
def test_every_object_survives_a_code_fence(value: dict[str, Any]) -> None:
    import json

    text = json.dumps(value)
    if "```" not in text:
        assert json_in(f"Sure!\n```json\n{text}\n```") == value


def test_a_wrong_value_is_named_with_its_place() -> None:
    assert first_problem({"answer": "x", "sure": 3}, SCHEMA) == "at sure: 3 is greater than the maximum of 1"
    assert first_problem({"answer": "x", "sure": 1}, SCHEMA) is None


def test_a_schema_that_is_none_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="JSON schema"):
        first_problem({}, {"type": "objekt"})


def test_a_refusal_is_passed_on_without_a_value() -> None:
    reply = parsed(Reply(text="I can't", finish="refusal"), SCHEMA)
    assert (reply.finish, reply.value) == ("refusal", None)


def test_a_wrong_answer_is_asked_for_once_more_and_both_are_paid() -> None:
    seen: list[Request] = []

    def script(request: Request) -> str:
        seen.append(request)
        return '{"answer": "x"}' if len(seen) == 1 else '{"answer": "x", "sure": 0.5}'

    async def main() -> Reply:
        async with serving(script) as (_, url), opened(url) as chat:
            return await chat.complete(Request(messages=(user("q"),), schema=SCHEMA))

    reply = run(main())
    assert reply.value == {"answer": "x", "sure": 0.5}
    assert reply.attempts == 2
    assert len(seen) == 2
    assert "'sure' is a required property" in seen[1].messages[-1].text
    assert seen[1].messages[-2].text == '{"answer": "x"}'


def test_after_one_re_ask_the_answer_is_invalid_and_its_text_is_kept() -> None:
    async def main() -> ReplyInvalid:
        async with serving(lambda request: "I would rather not say.") as (server, url), opened(url) as chat:
            with pytest.raises(ReplyInvalid) as caught:
                await chat.complete(Request(messages=(user("q"),), schema=SCHEMA))
            assert server.counts["requests"] == 2
            return caught.value

    problem = run(main())
    assert (problem.reason, problem.text) == ("no_json", "I would rather not say.")


SCHEMAS = [
    SCHEMA,
    {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 3},
    {"type": "object", "properties": {"n": {"type": "integer", "minimum": 5, "maximum": 6}}, "required": ["n"]},
    {"anyOf": [{"type": "null"}, {"type": "string", "minLength": 30}]},
    {"$defs": {"p": {"type": "object", "properties": {"x": {"const": 3}}, "required": ["x"]}}, "$ref": "#/$defs/p"},
    {"type": ["string", "null"], "maxLength": 3},
    {"type": "object", "properties": {"a": {"allOf": [{"type": "number"}, {"exclusiveMinimum": 2}]}}},
]


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("seed", range(5))
def test_an_example_satisfies_its_schema(schema: dict[str, Any], seed: int) -> None:
    assert first_problem(example_of(schema, random_for(seed, "x")), schema) is None
