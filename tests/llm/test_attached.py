"""What a server attaches to its turns travels back with them: signatures of thoughts, and thoughts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from millrace.llm import Reply, Request, ToolCall, assistant, tool, tool_result, user
from millrace.llm.mock_server.http_server import HttpServer, Incoming, Outgoing
from millrace.llm.providers.gemini import NO_SIGNATURE, GeminiDialect, Options
from millrace.llm.store.reply_journal import content_key
from tests.llm.servers import opened, run

ADD = tool("add", "adds", {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})
CALL: dict[str, Any] = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 4}'}}


def refused(message: str) -> Outgoing:
    return Outgoing(400, orjson.dumps({"error": {"message": message}}))


def said(message: dict[str, Any]) -> Outgoing:
    return Outgoing(200, orjson.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}))


async def thinking(incoming: Incoming) -> Outgoing:
    """Kimi's and DeepSeek's way: a turn with calls comes back with the thoughts behind it."""
    turns = orjson.loads(incoming.body)["messages"]
    for turn in turns:
        if turn.get("tool_calls") and "reasoning_content" not in turn:
            return refused("thinking is enabled but reasoning_content is missing in assistant tool call message at index 1")
    if turns[-1]["role"] == "tool":
        return said({"content": f"thought {turns[-2]['reasoning_content']!r}"})
    return said({"content": None, "reasoning_content": "four, then", "tool_calls": [CALL]})


async def never(incoming: Incoming) -> Outgoing:
    """A server that gives thoughts and refuses them."""
    turns = orjson.loads(incoming.body)["messages"]
    if any("reasoning_content" in turn for turn in turns):
        return refused("Unknown field: reasoning_content is not allowed in messages")
    if turns[-1]["role"] == "tool":
        return said({"content": "done"})
    return said({"content": None, "reasoning_content": "four, then", "tool_calls": [CALL]})


async def signing(incoming: Incoming) -> Outgoing:
    """Gemini's OpenAI-compatible API."""
    turns = orjson.loads(incoming.body)["messages"]
    extra = {"extra_content": {"google": {"thought_signature": "abc="}}}
    for turn in turns:
        for call in turn.get("tool_calls") or ():
            if call.get("extra_content") != extra["extra_content"]:
                return refused("Function call is missing a thought_signature")
    return said({"content": "done"}) if turns[-1]["role"] == "tool" else said({"content": None, "tool_calls": [CALL | extra]})


async def claude(incoming: Incoming) -> Outgoing:
    """LiteLLM in front of Claude: a turn with calls begins with its signed thoughts."""
    turns = orjson.loads(incoming.body)["messages"]
    blocks = [{"type": "thinking", "thinking": "four, then", "signature": "sig"}]
    if any(turn.get("tool_calls") and turn.get("thinking_blocks") != blocks for turn in turns):
        return refused("messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`")
    if turns[-1]["role"] == "tool":
        return said({"content": "done"})
    return said({"content": None, "thinking_blocks": blocks, "tool_calls": [CALL]})


async def no_signatures(incoming: Incoming) -> Outgoing:
    """A server that attaches something to its calls and refuses it."""
    turns = orjson.loads(incoming.body)["messages"]
    extra = {"provider_specific_fields": {"index": 0}}
    if any("provider_specific_fields" in call for turn in turns for call in turn.get("tool_calls") or ()):
        return refused("messages.1.tool_calls.0.provider_specific_fields: Extra inputs are not permitted")
    return said({"content": "done"}) if turns[-1]["role"] == "tool" else said({"content": None, "tool_calls": [CALL | extra]})


def looped(handle: Any, folder: Path) -> tuple[Reply, Reply]:
    async def main() -> tuple[Reply, Reply]:
        server = HttpServer(handle)
        url = await server.start()
        for _ in range(2):  # the second time from the journal
            async with opened(url, folder) as chat:
                first = await chat.complete(Request(messages=(user("4?"),), tools=(ADD,)))
                turn = assistant(first.text, tool_calls=first.tool_calls, attached=first.attached)
                turns = (user("4?"), turn, tool_result(first.tool_calls[0], "9"))
                second = await chat.complete(Request(messages=turns, tools=(ADD,)))
        await server.stop()
        return first, second

    return run(main())


@pytest.mark.parametrize(
    ("handle", "text"),
    [
        (thinking, "thought 'four, then'"),
        (never, "done"),
        (signing, "done"),
        (claude, "done"),
        (no_signatures, "done"),
    ],
)
def test_a_tool_loop_goes_on_whatever_the_server_wants_back(handle: Any, text: str, tmp_path: Path) -> None:
    first, second = looped(handle, tmp_path)
    assert (first.finish, second.text, second.replayed) == ("tool_calls", text, True)


def test_a_caller_that_kept_no_thoughts_is_answered_too() -> None:
    async def main() -> str:
        server = HttpServer(thinking)
        async with opened(await server.start()) as chat:
            call = ToolCall(id="call_1", name="add", arguments={"a": 4})
            turns = (user("4?"), assistant(tool_calls=(call,)), tool_result(call, "9"))
            reply = await chat.complete(Request(messages=turns, tools=(ADD,)))
        await server.stop()
        return reply.text

    assert run(main()) == "thought ''"


def parts_of(dialect: GeminiDialect, call: ToolCall) -> Any:
    turns = (user("4?"), assistant(tool_calls=(call,)), tool_result(call, "9"))
    body: Any = dialect.body(Request(messages=turns, tools=(ADD,)), "native", [])
    return body["contents"][1]["parts"]


def test_geminis_signature_comes_back_with_its_call() -> None:
    dialect = GeminiDialect(Options(), "gemini-3-pro-preview")
    part = {"functionCall": {"name": "add", "args": {"a": 4}}, "thoughtSignature": "abc="}
    (call,) = dialect.reply(orjson.dumps({"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]})).tool_calls
    assert parts_of(dialect, call) == [part]
    unsigned = ToolCall(id="1", name="add", arguments={"a": 4})
    assert parts_of(dialect, unsigned)[0]["thoughtSignature"] == NO_SIGNATURE
    assert "thoughtSignature" not in parts_of(GeminiDialect(Options(), "gemini-2.5-pro"), unsigned)[0]


def test_gemini_is_told_how_much_to_think() -> None:
    body: Any = GeminiDialect(Options(thinking_level="low")).body(Request(messages=(user("x"),)), "native", [])
    assert body["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "low"}


def test_calls_without_attachments_keep_the_keys_they_had() -> None:
    call = ToolCall(id="1", name="add", arguments={"b": 1, "a": [2]}, invalid=None)
    request = Request(messages=(user("x"), assistant(tool_calls=(call,)), tool_result(call, "9")))
    assert content_key(("p", "m"), request, ()).hex() == "a061a5809fa252075390a4f0538f3b7f"
