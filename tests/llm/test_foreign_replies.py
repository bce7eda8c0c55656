"""Replies as other people's servers write them: what is wrong with the server is never taken for the model's answer."""

from __future__ import annotations

import json
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.llm import Reply, Request, Usage, user
from millrace.llm.failures import AttemptFailed
from millrace.llm.mock_server.http_server import HttpServer, Incoming, Outgoing
from millrace.llm.providers.gemini import GeminiDialect
from millrace.llm.providers.gemini import Options as GeminiOptions
from millrace.llm.providers.openai_compatible import OpenAIDialect, Options
from millrace.llm.transport.exchange import Answer
from millrace.llm.transport.refusals import failure_inside
from tests.llm.servers import opened, run

OPENAI = OpenAIDialect("m", Options())
GEMINI = GeminiDialect(GeminiOptions())


def openai_body(message: Any = None, **choice: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": "yes"} if message is None else message
    return {"choices": [{"index": 0, "message": said, "finish_reason": "stop", **choice}]}


def gemini_body(**changed: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [{"text": "yes"}]}, "finishReason": "STOP"}], **changed}


@pytest.mark.parametrize(
    "reason", ["error", "abort", "insufficient_system_resource", "network_error", "engine_failure", "timeout"]
)
def test_an_answer_that_the_server_broke_off_is_no_answer(reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        OPENAI.reply(orjson.dumps(openai_body(finish_reason=reason)))


@pytest.mark.parametrize(
    "body",
    [
        openai_body(error={"code": 502, "message": "upstream died"}),
        openai_body({"content": "yes", "error": {"message": "upstream died"}}),
        {**openai_body(), "error": {"message": "upstream died"}},
        {"error": {"message": "upstream died"}, "choices": []},
    ],
)
def test_an_error_beside_the_answer_is_the_servers(body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="upstream died"):
        OPENAI.reply(orjson.dumps(body))


@pytest.mark.parametrize("content", [None, "", []])
@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_thoughts_without_an_answer_are_the_servers_fault(content: Any, field: str) -> None:
    with pytest.raises(ValueError, match="thoughts and no answer"):
        OPENAI.reply(orjson.dumps(openai_body({"content": content, field: '{"answer": "draft"}'})))


def test_geminis_thoughts_without_an_answer_are_the_servers_fault() -> None:
    body = {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}]}, "finishReason": "STOP"}]}
    with pytest.raises(ValueError, match="thoughts and no answer"):
        GEMINI.reply(orjson.dumps(body))


def test_thoughts_that_used_up_the_limit_are_an_answer_cut_off() -> None:
    reply = OPENAI.reply(orjson.dumps(openai_body({"content": None, "reasoning_content": "hm"}, finish_reason="length")))
    assert (reply.text, reply.finish) == ("", "length")


@pytest.mark.parametrize("reason", ["content_filter", "SAFETY", "sensitive", "prohibited_content", "guardrail_intervened"])
def test_a_filter_that_ends_an_answer_is_told_from_a_model_that_refuses(reason: str) -> None:
    reply = OPENAI.reply(orjson.dumps(openai_body({"content": "I"}, finish_reason=reason)))
    assert (reply.finish, reply.filtered) == ("refusal", True)
    own = OPENAI.reply(orjson.dumps(openai_body({"content": None, "refusal": "I'd rather not"})))
    assert (own.finish, own.filtered, own.text) == ("refusal", False, "I'd rather not")


ODD = [12.0, "12", "12.0", [], {}, None, True, -1, "many", 1e300, 2**70, [1, 2], "nan"]


@pytest.mark.parametrize("odd", ODD)
def test_odd_usage_never_rejects_a_paid_answer(odd: Any) -> None:
    counted = {"prompt_tokens": odd, "completion_tokens": odd, "prompt_tokens_details": odd}
    for usage in (odd, counted, {"prompt_tokens_details": [odd]}):
        reply = OPENAI.reply(big(openai_body() | {"usage": usage}))
        assert reply.text == "yes"
        assert reply.usage in (Usage(), Usage(input_tokens=12, output_tokens=12))
    for named in ("usageMetadata", "modelVersion", "promptFeedback"):
        assert GEMINI.reply(big(gemini_body(**{named: odd}))).text == "yes"
    counts = {"promptTokenCount": odd, "candidatesTokenCount": odd, "cachedContentTokenCount": odd, "thoughtsTokenCount": odd}
    assert GEMINI.reply(big(gemini_body(usageMetadata=counts))).text == "yes"


def big(value: Any) -> bytes:
    return json.dumps(value).encode()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
BESIDE = st.dictionaries(
    st.sampled_from(["usage", "model", "id", "created", "system_fingerprint", "service_tier", "x_groq", "object", "citations"]),
    anything,
    max_size=4,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(BESIDE, st.dictionaries(st.sampled_from(["logprobs", "index", "stop_reason", "token_ids"]), anything, max_size=3))
def test_nothing_beside_the_answer_rejects_it(beside: dict[str, Any], in_choice: dict[str, Any]) -> None:
    body = openai_body({"content": "yes", "annotations": beside, "audio": in_choice}, **in_choice) | beside
    assert OPENAI.reply(big(body)).text == "yes"


def test_bytes_that_are_no_utf8_do_not_reject_an_answer() -> None:
    assert OPENAI.reply(b'{"choices":[{"message":{"content":"yes"}}],"id":"\xff\xfe"}').text == "yes"


def test_a_status_inside_a_200_is_the_status() -> None:
    for code, kind in ((429, "overload"), (502, "server"), ("503", "overload"), (400, "rejected")):
        body = orjson.dumps({"error": {"code": code, "message": "upstream"}, "choices": []})
        failure = failure_inside(Answer(200, httpx.Headers(), body), "http://x", None)
        assert isinstance(failure, AttemptFailed)
        assert failure.kind == kind


def test_a_reply_that_the_server_broke_is_asked_for_again() -> None:
    told = [
        openai_body({"content": '{"a": 1}'}, finish_reason="error"),
        openai_body({"content": "", "reasoning_content": "hm"}),
        openai_body({"content": '{"a": 2}'}),
    ]

    async def handle(incoming: Incoming) -> Outgoing:
        return Outgoing(200, orjson.dumps(told.pop(0)))

    async def main() -> Reply:
        server = HttpServer(handle)
        async with opened(await server.start()) as chat:
            reply = await chat.complete(Request(messages=(user("q"),), schema={"type": "object"}))
        await server.stop()
        return reply

    reply = run(main())
    assert (reply.value, reply.attempts) == ({"a": 2}, 3)
