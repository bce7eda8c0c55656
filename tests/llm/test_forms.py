"""How an endpoint wants to be asked is found out once, kept in the run's folder, and is the same for all processes."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from millrace.llm import Request, system, user
from millrace.llm.client.strict_schema import strict_problem, without_limits
from millrace.llm.failures import CallFailed
from millrace.llm.mock_server.http_server import HttpServer, Incoming, Outgoing
from millrace.llm.transport.request_form import merged
from millrace.probing.baselines import Question
from millrace.probing.baselines.endpoint import claim_schema, question_schema
from millrace.probing.claims import load_claims
from millrace.probing.judges.endpoint import subject_schema, vote_schema
from millrace.probing.prompts import write_prompt
from millrace.qa.writers import Option
from millrace.qa.writing.model_prompts import FORMS, answer_schema, draft_schema
from millrace.synthesis.chat.judging import JUDGE_SCHEMA
from millrace.synthesis.chat_writing import ANSWER_SCHEMA
from tests.llm.servers import opened, question, run

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
OPEN = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": {"type": "string"}}
LIMITED = {**SCHEMA, "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}}}


def said(text: str) -> Outgoing:
    return Outgoing(200, orjson.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}))


def refused(message: str, param: str | None = None, status: int = 400) -> Outgoing:
    return Outgoing(status, orjson.dumps({"error": {"message": message, "param": param, "type": "invalid_request_error"}}))


class Picky:
    """A server with rules; counts what it refused."""

    def __init__(self, *rules: Any, answer: str = '{"a": 1}') -> None:
        self.rules = rules
        self.answer = answer
        self.refused = 0
        self.bodies: list[dict[str, Any]] = []
        self.http = HttpServer(self.handle)

    async def handle(self, incoming: Incoming) -> Outgoing:
        body = orjson.loads(incoming.body)
        for rule in self.rules:
            answer = rule(body)
            if answer is not None:
                self.refused += 1
                return answer
        self.bodies.append(body)
        return said(self.answer)


def no_max_tokens(body: dict[str, Any]) -> Outgoing | None:
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    return refused(words, "max_tokens") if "max_tokens" in body else None


def no_temperature(body: dict[str, Any]) -> Outgoing | None:
    words = "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported."
    return refused(words, "temperature") if body.get("temperature", 1) != 1 else None


def no_seed(body: dict[str, Any]) -> Outgoing | None:
    detail = [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]
    return Outgoing(422, orjson.dumps({"detail": detail})) if "seed" in body else None


def not_both(body: dict[str, Any]) -> Outgoing | None:
    words = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
    return refused(words) if {"temperature", "top_p"} <= set(body) else None


def litellm_temperature(body: dict[str, Any]) -> Outgoing | None:
    words = "litellm.UnsupportedParamsError: gpt-5 models don't support temperature=0.0. Only temperature=1 is supported."
    return refused(words) if body.get("temperature", 1) != 1 else None


def no_system(body: dict[str, Any]) -> Outgoing | None:
    return refused("System role not supported") if body["messages"][0]["role"] == "system" else None


def says(words: str, *, unless: str) -> Any:
    """A rule: refused with these words as long as the field is sent."""
    return lambda body: refused(words) if unless in body else None


RULES: dict[str, tuple[Any, int]] = {
    "max_tokens": (no_max_tokens, 1),
    "temperature": (no_temperature, 1),
    "temperature through LiteLLM": (litellm_temperature, 1),
    "seed": (no_seed, 1),
    "one of two": (not_both, 1),
    "no system role": (no_system, 1),
    "temperature of TGI": (says("`temperature` must be strictly positive", unless="temperature"), 1),
    "temperature of Claude": (says("`temperature` may only be set to 1 when thinking is enabled.", unless="temperature"), 1),
    "temperature out of range": (says("temperature: must be > 0", unless="temperature"), 1),
    "seed through Rust": (says("unknown field `seed`, expected one of `model`, `messages`", unless="seed"), 1),
}
ASKED: dict[str, Any] = {"temperature": 0.0, "top_p": 0.9, "seed": 3, "max_tokens": 99}


@pytest.mark.parametrize("name", sorted(RULES))
def test_what_a_400_says_about_the_form_is_learnt_once_and_for_all_processes(name: str, tmp_path: Path) -> None:
    rule, refusals = RULES[name]
    server = Picky(rule)

    async def main() -> None:
        url = await server.http.start()
        for process in range(2):  # the second one reads what the first one found
            async with opened(url, tmp_path) as chat:
                for number in range(3):
                    messages = (system("be brief"), user(f"{process} {number}"))
                    assert (await chat.complete(Request(messages=messages, **ASKED))).text == '{"a": 1}'
        await server.http.stop()

    run(main())
    assert server.refused == refusals
    assert len(server.bodies) == 6
    assert all("be brief" in orjson.dumps(body).decode() for body in server.bodies)


def test_a_reasoning_model_that_refuses_everything_at_first_answers_the_first_question() -> None:
    server = Picky(no_max_tokens, no_temperature, no_seed)

    async def main() -> None:
        async with opened(await server.http.start()) as chat:
            assert (await chat.complete(question(schema=SCHEMA, **ASKED))).value == {"a": 1}
        await server.http.stop()

    run(main())
    (body,) = server.bodies
    assert body["max_completion_tokens"] == 99
    assert not {"max_tokens", "temperature", "seed"} & set(body)


@pytest.mark.parametrize(
    "words",
    [
        "max_tokens is too large: 99999. This model supports at most 4096 completion tokens",
        "This model's maximum context length is 4096 tokens, however you requested 9000 (max_tokens)",
        "messages[0].content is not a valid string",
        "the model does not support images",
    ],
)
def test_a_refusal_of_the_question_changes_no_form(words: str) -> None:
    server = Picky(lambda body: refused(words))

    async def main() -> None:
        async with opened(await server.http.start()) as chat:
            with pytest.raises(CallFailed):
                await chat.complete(question(**ASKED))
        await server.http.stop()

    run(main())
    assert server.refused == 1


def strict(body: dict[str, Any]) -> Outgoing | None:
    form = body.get("response_format") or {}
    if form.get("type") != "json_schema":
        return None
    problem = strict_problem(form["json_schema"]["schema"])
    return None if problem is None else refused(f"Invalid schema for response_format 'answer': {problem}", "response_format")


def form_of(body: dict[str, Any]) -> str:
    return str((body.get("response_format") or {}).get("type", "words"))


def test_one_schema_that_a_strict_server_refuses_takes_no_other_ones_mode(tmp_path: Path) -> None:
    server = Picky(strict)

    async def main() -> None:
        url = await server.http.start()
        for process in range(2):
            async with opened(url, tmp_path) as chat:
                for number, schema in enumerate((OPEN, SCHEMA, OPEN, LIMITED, SCHEMA)):
                    assert (await chat.complete(question(10 * process + number, schema=schema))).value == {"a": 1}
        await server.http.stop()

    run(main())
    forms = [form_of(body) for body in server.bodies]
    assert forms == ["json_object", "json_schema", "json_object", "json_schema", "json_schema"] * 2
    assert server.refused == 2, "the open one once, the one with limits once"


def test_processes_at_the_same_time_end_with_the_same_findings(tmp_path: Path) -> None:
    server = Picky(no_max_tokens, no_temperature, no_seed, strict)

    async def main() -> None:
        url = await server.http.start()
        async with opened(url, tmp_path) as one, opened(url, tmp_path) as two:
            asked = [chat.complete(question(n, schema=(OPEN, SCHEMA)[n % 2], **ASKED)) for n, chat in enumerate((one, two) * 10)]
            await asyncio.gather(*asked)
            found = [chat.pool.endpoints[0].model.form.known for chat in (one, two)]  # type: ignore[attr-defined]
            for known in found:
                known.refresh()
            assert found[0].now == found[1].now
        await server.http.stop()

    run(main())
    assert Counter(map(form_of, server.bodies)) == {"json_schema": 10, "json_object": 10}


def test_an_overloaded_server_is_not_asked_again_at_once_because_another_process_has_learnt_something(tmp_path: Path) -> None:
    overloaded = [True]

    def full(body: dict[str, Any]) -> Outgoing | None:
        return refused("slow down", status=429) if overloaded else None

    async def main() -> None:
        server = Picky(full)
        url = await server.http.start()
        async with opened(url, tmp_path) as one, opened(url, tmp_path) as other:
            found = other.pool.endpoints[0].model.form.known  # type: ignore[attr-defined]
            found.learn(lambda known: msgspec.structs.replace(known, left_out=["seed"]))
            asked = asyncio.create_task(one.complete(question(seed=1)))
            await asyncio.sleep(0.3)
            assert server.refused == 1
            overloaded.clear()
            await asked
        await server.http.stop()

    run(main())


def test_a_server_that_ignores_schemas_is_soon_asked_in_words_and_so_after_a_resume(tmp_path: Path) -> None:
    modes: list[str] = []

    async def handle(incoming: Incoming) -> Outgoing:
        body = orjson.loads(incoming.body)
        modes.append(form_of(body))
        return said('{"a": 1}' if "JSON" in str(body["messages"][-1]["content"]) else "I'd say one.")

    async def main() -> None:
        server = HttpServer(handle)
        url = await server.start()
        for process in range(2):
            async with opened(url, tmp_path) as chat:
                for number in range(10):
                    assert (await chat.complete(question(10 * process + number, schema=SCHEMA))).value == {"a": 1}
        await server.stop()

    run(main())
    assert modes.count("json_schema") <= 6
    assert modes[-16:] == ["words"] * 16


def test_a_model_that_is_wrong_now_and_then_keeps_its_schema_mode() -> None:
    asked = 0

    async def handle(incoming: Incoming) -> Outgoing:
        nonlocal asked
        asked += 1
        assert b"json_schema" in incoming.body
        return said("no" if asked % 4 == 3 else '{"a": 1}')

    async def main() -> None:
        server = HttpServer(handle)
        async with opened(await server.start()) as chat:
            for number in range(30):
                await chat.complete(question(number, schema=SCHEMA))
        await server.stop()

    run(main())


def shipped() -> dict[str, dict[str, Any]]:
    from types import SimpleNamespace

    found: dict[str, dict[str, Any]] = {"synthesis answer": ANSWER_SCHEMA, "synthesis judge": JUDGE_SCHEMA}
    for claim in load_claims("default").claims:
        subject: Any = SimpleNamespace(values=dict.fromkeys(claim.prefill_slots, "thing"), selectors={}, answerable=True)
        found[f"claim {claim.claim_id}"] = claim_schema(write_prompt(claim, subject))
        found[f"vote {claim.claim_id}"] = vote_schema(claim)
        found[f"subject {claim.claim_id}"] = subject_schema(claim)
    for form in FORMS:
        found[f"draft {form}"] = draft_schema(form)
    found["question"] = question_schema(Question("?", {"A": "x", "B": "y"}, "multiple_choice"))
    found["gap"] = question_schema(Question("?", {}, "fill_in_blank"))
    found["answer"] = answer_schema({"A": Option("x", "x", "right")})
    found["free answer"] = answer_schema({})
    return found


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_schema_is_in_the_strict_subset(name: str) -> None:
    assert strict_problem(shipped()[name]) is None


def test_what_is_outside_of_the_subset_is_named() -> None:
    assert strict_problem(OPEN) == "an object that allows other properties"
    assert strict_problem(LIMITED) == "keyword maximum"
    assert strict_problem({**SCHEMA, "required": []}) == "a property that is not required"
    assert strict_problem({"type": "array", "items": SCHEMA}) == "the whole is no object"
    assert without_limits(LIMITED) == SCHEMA


def test_extra_fields_are_merged_into_what_is_there() -> None:
    body = {"generationConfig": {"temperature": 0, "thinkingConfig": {"thinkingBudget": 1}}, "a": [1]}
    extra = {"generationConfig": {"thinkingConfig": {"includeThoughts": True}, "topK": 3}, "a": [2]}
    whole = {"temperature": 0, "thinkingConfig": {"thinkingBudget": 1, "includeThoughts": True}, "topK": 3}
    assert merged(body, extra) == {"generationConfig": whole, "a": [2]}
