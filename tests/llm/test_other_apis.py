"""What is particular to Anthropic's, Azure's and the Responses API, and headers that carry secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from millrace.errors import UsageError
from millrace.llm import Message, Reply, Request, assistant, system, tool, tool_result, user
from millrace.llm.failures import AttemptFailed
from millrace.llm.images import ImageEncoder
from millrace.llm.mock_server.http_server import HttpServer, Incoming, Outgoing
from millrace.llm.providers import anthropic, azure_openai, openai_responses
from millrace.llm.settings import EndpointSettings, ImagePolicy, ModelSettings
from millrace.llm.throttle.byte_budget import ByteBudget
from millrace.llm.transport.http_chat import HttpChat, Resources
from millrace.plugins.loading import load_plugin
from tests.llm.servers import run

SCHEMA: Any = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
KEY = "sk-secret-0123456789abcdef"
ADD = tool("add", "adds", {"type": "object", "properties": {"a": {"type": "integer"}}})

Answer = Callable[[Incoming], Outgoing]


def conversation(
    provider: str,
    answer: Answer,
    requests: list[Request] | Callable[[HttpChat], Any],
    *,
    path: str = "",
    endpoint: dict[str, Any] | None = None,
    **settings: Any,
) -> list[Reply]:
    """The replies of `provider`, before a server that answers by `answer`."""

    async def handle(incoming: Incoming) -> Outgoing:
        return answer(incoming)

    async def main() -> list[Reply]:
        server = HttpServer(handle)
        place = EndpointSettings(base_url=await server.start() + path, **(endpoint or {}))
        chosen = ModelSettings(provider=provider, model=settings.pop("model", "m"), endpoints=(place,), **settings)
        plugin = load_plugin("millrace.llm.providers", provider, "provider")
        try:
            model = plugin.open_model(chosen, place, Resources(ImageEncoder(ImagePolicy()), ByteBudget(10**8)))
            try:
                if not callable(requests):
                    return [await model.complete(request) for request in requests]
                await requests(model)
                return []
            finally:
                await model.close()
        finally:
            await server.stop()

    return run(main())


def asking(**fields: Any) -> Request:
    return Request(messages=(user("x"),), **fields)


def message(*content: dict[str, Any], stop_reason: str = "end_turn", **usage: int) -> Outgoing:
    counts = usage or {"input_tokens": 7, "output_tokens": 3}
    return Outgoing(200, orjson.dumps({"content": content, "stop_reason": stop_reason, "usage": counts, "model": "claude-x"}))


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def response(*output: dict[str, Any], status: str = "completed", **more: Any) -> Outgoing:
    usage = {"input_tokens": 9, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 4}}
    return Outgoing(200, orjson.dumps({"status": status, "output": output, "usage": usage, "model": "gpt-x", **more}))


def said(words: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": words}]}


def test_claudes_cached_tokens_are_part_of_the_prompt() -> None:
    counts = {"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 5, "output_tokens": 3}
    (reply,) = conversation("anthropic", lambda _: message(text("yes"), **counts), [asking()])
    assert (reply.usage.input_tokens, reply.usage.cached_tokens, reply.usage.output_tokens) == (115, 100, 3)


def test_claude_is_always_told_a_longest_answer() -> None:
    bodies: list[dict[str, Any]] = []

    def answer(incoming: Incoming) -> Outgoing:
        bodies.append(orjson.loads(incoming.body))
        return message(text("yes"))

    conversation("anthropic", answer, [asking(), asking(max_tokens=50)])
    assert [body["max_tokens"] for body in bodies] == [4096, 50]


def test_room_for_thoughts_is_added_and_thoughts_are_no_sign_that_the_answer_broke_off() -> None:
    bodies: list[dict[str, Any]] = []

    def answer(incoming: Incoming) -> Outgoing:
        bodies.append(orjson.loads(incoming.body))
        return message({"type": "thinking", "thinking": "hm", "signature": "s"}, text("yes"), input_tokens=5, output_tokens=1500)

    (reply,) = conversation("anthropic", answer, [asking(max_tokens=100)], options={"thinking_budget": 2000})
    assert (bodies[0]["max_tokens"], bodies[0]["thinking"]["budget_tokens"]) == (2100, 2000)
    assert (reply.text, reply.finish) == ("yes", "stop")


def test_claudes_thoughts_go_back_with_the_calls_that_they_led_to() -> None:
    thought = {"type": "thinking", "thinking": "four and five", "signature": "sig=="}
    bodies: list[dict[str, Any]] = []

    def answer(incoming: Incoming) -> Outgoing:
        bodies.append(orjson.loads(incoming.body))
        if len(bodies) > 1:
            return message(text("9"))
        return message(thought, {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 4}}, stop_reason="tool_use")

    async def talk(model: HttpChat) -> None:
        first = await model.complete(Request(messages=(system("be brief"), user("4?")), tools=(ADD,)))
        (call,) = first.tool_calls
        turns = (system("be brief"), user("4?"), assistant(tool_calls=first.tool_calls, attached=first.attached))
        again = (*turns, tool_result(call, "9"), user("and now?"))
        assert (await model.complete(Request(messages=again, tools=(ADD,)))).text == "9"

    conversation("anthropic", answer, talk)
    assert bodies[1]["system"] == "be brief"
    assert bodies[1]["messages"][1]["content"][0] == thought
    results = bodies[1]["messages"][2]
    assert [block["type"] for block in results["content"]] == ["tool_result", "text"]
    assert len(bodies[1]["messages"]) == 3


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refusal"),
    ],
)
def test_claudes_ends_are_told_apart(reason: str, finish: str) -> None:
    (reply,) = conversation("anthropic", lambda _: message(text("some"), stop_reason=reason), [asking()])
    assert (reply.finish, reply.filtered) == (finish, finish == "refusal")


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
        b'{"content":[],"stop_reason":"end_turn"}',
        b'{"content":[{"type":"thinking","thinking":"hm"}],"stop_reason":"end_turn"}',
        b'{"content":[{"type":"text","text":"half"}],"stop_reason":"pause_turn"}',
        b'{"content":[{"type":"text","text":"half"}],"stop_reason":"a_reason_of_next_year"}',
        b'{"content":null}',
        b"[]",
    ],
)
def test_a_fault_of_claudes_server_is_no_answer(body: bytes) -> None:
    with pytest.raises(AttemptFailed) as caught:
        conversation("anthropic", lambda _: Outgoing(200, body), [asking()])
    assert caught.value.kind == "malformed"


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (529, "overload", "Overloaded"),
        (429, "overload", "would exceed your organization's rate limit"),
        (500, "server", "Internal server error"),
        (401, "credentials", "invalid x-api-key"),
        (400, "rejected", "messages: roles must alternate"),
        (413, "rejected", "Request exceeds the maximum size"),
    ],
)
def test_claudes_errors_have_their_class(status: int, kind: str, words: str) -> None:
    body = orjson.dumps({"type": "error", "error": {"type": "some_error", "message": words}})
    with pytest.raises(AttemptFailed, match=words) as caught:
        conversation("anthropic", lambda _: Outgoing(status, body), [asking()])
    assert caught.value.kind == kind


def test_a_claude_account_without_credit_is_told_from_a_rate_limit() -> None:
    body = b'{"error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API."}}'
    with pytest.raises(AttemptFailed) as caught:
        conversation("anthropic", lambda _: Outgoing(400, body), [asking()])
    assert caught.value.account_empty


def test_what_a_claude_refuses_is_left_out_from_then_on() -> None:
    """Newer models take no temperature, older ones no schema; each costs one refusal and not one a question."""
    sent: list[set[str]] = []

    def answer(incoming: Incoming) -> Outgoing:
        fields = set(orjson.loads(incoming.body))
        sent.append(fields)
        for name, words in {
            "temperature": "temperature: `temperature` is not supported by this model",
            "output_config": "output_config: Extra inputs are not permitted",
        }.items():
            if name in fields:
                error = {"type": "error", "error": {"type": "invalid_request_error", "message": words}}
                return Outgoing(400, orjson.dumps(error))
        return message(text('{"a": 1}'))

    asked = [asking(temperature=0.5, schema=SCHEMA) for _ in range(3)]
    replies = conversation("anthropic", answer, asked)
    assert [reply.text for reply in replies] == ['{"a": 1}'] * 3
    assert not {"temperature", "output_config"} & (sent[-1] | sent[-2])
    assert len(sent) <= 3 + 3


@pytest.mark.parametrize(
    ("path", "options", "wanted"),
    [
        ("", {"api_version": "2024-10-21"}, "/openai/deployments/m/chat/completions?api-version=2024-10-21"),
        ("", {}, "/openai/v1/chat/completions"),
        ("/openai/v1", {}, "/openai/v1/chat/completions"),
        ("/gateway/v1", {}, "/gateway/v1/chat/completions"),
        ("/openai/deployments/d?api-version=2024-06-01", {}, "/openai/deployments/d/chat/completions?api-version=2024-06-01"),
        ("", {"api_version": "2024-10-21", "deployment": "my own"}, "/openai/deployments/my%20own/chat/completions?api-version="),
        ("/gateway", {"api_version": "1"}, "/gateway/openai/deployments/m/chat/completions?api-version=1"),
    ],
)
def test_azure_is_asked_where_its_versions_want_it(
    path: str, options: dict[str, str], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_KEY", KEY)
    seen: list[Incoming] = []

    def answer(incoming: Incoming) -> Outgoing:
        seen.append(incoming)
        return Outgoing(200, b'{"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}]}')

    conversation("azure_openai", answer, [asking()], path=path, endpoint={"api_key_env": "AZURE_KEY"}, options=options)
    assert seen[0].path.startswith(wanted)
    assert seen[0].headers["api-key"] == KEY
    assert "authorization" not in seen[0].headers


def test_a_token_of_azures_directory_goes_where_tokens_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_KEY", KEY)
    seen: list[Incoming] = []

    def answer(incoming: Incoming) -> Outgoing:
        seen.append(incoming)
        return Outgoing(200, b'{"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}]}')

    conversation("azure_openai", answer, [asking()], endpoint={"api_key_env": "AZURE_KEY"}, options={"entra_token": True})
    assert (seen[0].headers["authorization"], "api-key" in seen[0].headers) == (f"Bearer {KEY}", False)


def test_azures_content_filter_is_a_refusal_by_the_filter() -> None:
    error = {
        "code": "content_filter",
        "message": "The response was filtered",
        "innererror": {"code": "ResponsibleAIPolicyViolation"},
    }
    (reply,) = conversation("azure_openai", lambda _: Outgoing(400, orjson.dumps({"error": error})), [asking()])
    assert (reply.finish, reply.filtered) == ("refusal", True)


def test_a_response_has_its_words_and_its_tokens() -> None:
    (reply,) = conversation("openai_responses", lambda _: response({"type": "reasoning", "summary": []}, said("yes")), [asking()])
    assert (reply.text, reply.finish, reply.model) == ("yes", "stop", "gpt-x")
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.cached_tokens) == (9, 2, 4)


@pytest.mark.parametrize(
    ("reason", "finish", "filtered"), [("max_output_tokens", "length", False), ("content_filter", "refusal", True)]
)
def test_an_incomplete_response_says_why(reason: str, finish: str, filtered: bool) -> None:
    def answer(_: Incoming) -> Outgoing:
        return response(said("half"), status="incomplete", incomplete_details={"reason": reason})

    (reply,) = conversation("openai_responses", answer, [asking()])
    assert (reply.text, reply.finish, reply.filtered) == ("half", finish, filtered)


def test_a_response_that_thought_all_its_room_away_broke_off() -> None:
    def answer(_: Incoming) -> Outgoing:
        details = {"reason": "max_output_tokens"}
        return response({"type": "reasoning", "summary": []}, status="incomplete", incomplete_details=details)

    (reply,) = conversation("openai_responses", answer, [asking(max_tokens=64)])
    assert (reply.text, reply.finish) == ("", "length")


@pytest.mark.parametrize(
    "answer",
    [
        response(said("half"), status="failed", error={"code": "server_error", "message": "it broke"}),
        response(said("half"), status="cancelled"),
        response(said("half"), status="in_progress"),
        response(said("half"), status="incomplete", incomplete_details={"reason": "a_reason_of_next_year"}),
        response(),
        response({"type": "reasoning", "summary": []}),
        Outgoing(200, b'{"output": "yes"}'),
    ],
)
def test_a_fault_of_a_responses_server_is_no_answer(answer: Outgoing) -> None:
    with pytest.raises(AttemptFailed) as caught:
        conversation("openai_responses", lambda _: answer, [asking()])
    assert caught.value.kind == "malformed"


def test_a_responses_thoughts_go_back_before_the_calls_that_they_led_to() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}
    bodies: list[dict[str, Any]] = []

    def answer(incoming: Incoming) -> Outgoing:
        bodies.append(orjson.loads(incoming.body))
        if len(bodies) > 1:
            return response(said("9"))
        return response(thought, {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 4}'})

    async def talk(model: HttpChat) -> None:
        first = await model.complete(Request(messages=(user("4?"),), tools=(ADD,)))
        assert first.finish == "tool_calls"
        turn: Message = assistant(tool_calls=first.tool_calls, attached=first.attached)
        again = (user("4?"), turn, tool_result(first.tool_calls[0], "9"))
        assert (await model.complete(Request(messages=again, tools=(ADD,)))).text == "9"

    conversation("openai_responses", answer, talk)
    assert bodies[0]["include"] == ["reasoning.encrypted_content"]
    assert bodies[0]["store"] is False
    assert [item["type"] for item in bodies[1]["input"]] == ["message", "reasoning", "function_call", "function_call_output"]
    assert bodies[1]["input"][1] == thought


def test_a_header_with_a_secret_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_KEY", KEY)
    seen: list[str] = []

    def answer(incoming: Incoming) -> Outgoing:
        seen.append(incoming.headers["ocp-apim-subscription-key"])
        return Outgoing(400, orjson.dumps({"error": {"message": f"the key {KEY} may not do that"}}))

    endpoint = {"secret_headers": {"Ocp-Apim-Subscription-Key": "GATEWAY_KEY"}}
    for provider in ("openai_compatible", "anthropic", "azure_openai", "openai_responses", "gemini"):
        with pytest.raises(AttemptFailed) as caught:
            conversation(provider, answer, [asking()], endpoint=endpoint)
        assert KEY not in str(caught.value)
        assert "[key] may not do that" in str(caught.value)
    assert seen == [KEY] * 5
    assert KEY not in EndpointSettings(base_url="http://h/v1", **endpoint).model_dump_json()  # type: ignore[arg-type]


def test_a_header_whose_variable_is_not_set_is_said_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEWAY_KEY", raising=False)
    with pytest.raises(UsageError, match=r"GATEWAY_KEY.*X-Gateway"):
        conversation(
            "openai_compatible", lambda _: message(), [asking()], endpoint={"secret_headers": {"X-Gateway": "GATEWAY_KEY"}}
        )


def test_a_header_is_named_once() -> None:
    with pytest.raises(ValueError, match="x-key is in headers and in secret_headers"):
        EndpointSettings(base_url="http://h/v1", headers={"X-Key": "a"}, secret_headers={"x-key": "VARIABLE"})


@pytest.mark.parametrize("module", [anthropic, azure_openai, openai_responses])
def test_an_option_that_is_not_known_is_said(module: Any) -> None:
    endpoint = EndpointSettings(base_url="http://127.0.0.1:1/v1")
    settings = ModelSettings(provider=module.__name__, model="m", endpoints=(endpoint,), options={"temprature": 1})
    with pytest.raises(UsageError, match="temprature"):
        module.open_model(settings, endpoint, Resources(ImageEncoder(ImagePolicy()), ByteBudget(10**8)))
