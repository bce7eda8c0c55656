"""The server's side of Anthropic's Messages API.

It takes only what the real one takes: turns that begin with the user, results of tools that answer the calls of the turn before
them, and fields that it knows.
"""

from __future__ import annotations

from typing import Any

import orjson
import pybase64

from millrace.llm import ImagePart, Message, Reply, Request, ToolCall, tool
from millrace.llm.mock_server.chat_bodies import required

FIELDS = frozenset(
    {"model", "max_tokens", "messages", "system", "temperature", "top_p", "top_k", "stop_sequences", "thinking", "tools"}
    | {"tool_choice", "output_config", "metadata", "stream", "service_tier", "cache_control"}
)
"""What the API has; anything else is refused."""

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "refusal": "refusal"}


def request_of(body: bytes) -> Request:
    """The request in a body.

    Raises:
        ValueError: it is none; the message says why.
    """
    try:
        value = orjson.loads(body)
        if unknown := set(value) - FIELDS:
            raise ValueError(f"{min(unknown)}: Extra inputs are not permitted")
        required(value, "max_tokens", "messages")
        told = value.get("system")
        messages = [Message(role="system", parts=(told,))] if told else []
        asked: set[str] = set()
        for number, turn in enumerate(value["messages"]):
            made, called = _turn(turn, asked, number)
            messages += made
            asked = called
        tools = tuple(tool(one["name"], one.get("description", ""), one["input_schema"]) for one in value.get("tools") or ())
        form = (value.get("output_config") or {}).get("format") or {}
        choice = (value.get("tool_choice") or {}).get("type", "auto")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a message request: {type(error).__name__} {error}") from error
    return Request(
        messages=tuple(messages),
        tools=tools,
        tool_choice={"any": "required", "none": "none"}.get(choice, "auto"),  # type: ignore[arg-type]
        schema=form.get("schema"),
        temperature=value.get("temperature"),
        top_p=value.get("top_p"),
        max_tokens=value["max_tokens"],
        stop=tuple(value.get("stop_sequences") or ()),
    )


def body_of(reply: Reply, model: str, number: int) -> bytes:
    """The body of the answer."""
    content: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text and reply.finish != "refusal" else []
    content += [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in reply.tool_calls]
    usage = {"input_tokens": reply.usage.input_tokens, "output_tokens": reply.usage.output_tokens}
    return orjson.dumps(
        {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": _STOPS[reply.finish],
            "stop_sequence": None,
            "usage": usage if None not in usage.values() else None,
        }
    )


def _turn(turn: dict[str, Any], asked: set[str], number: int) -> tuple[list[Message], set[str]]:
    """The messages of one turn, and the ids of the calls in it."""
    role: Any = turn["role"]
    if role not in {"user", "assistant"} or (number == 0 and role != "user"):
        raise ValueError(f"messages.{number}: no role '{role}' here")
    plain = isinstance(turn["content"], str)
    content: list[dict[str, Any]] = [{"type": "text", "text": turn["content"]}] if plain else turn["content"]
    parts: list[str | ImagePart] = []
    calls: list[ToolCall] = []
    results: list[Message] = []
    for block in content:
        if block["type"] == "text":
            if not block["text"]:
                raise ValueError("messages: text content blocks must be non-empty")
            parts.append(block["text"])
        elif block["type"] == "image":
            parts.append(_image(block["source"]))
        elif block["type"] == "tool_use":
            calls.append(ToolCall(id=block["id"], name=block["name"], arguments=block["input"]))
        elif block["type"] == "tool_result":
            if block["tool_use_id"] not in asked:
                raise ValueError(f"unexpected `tool_use_id` found in `tool_result` blocks: {block['tool_use_id']}")
            results.append(Message(role="tool", parts=(block["content"],), tool_call_id=block["tool_use_id"]))
        elif block["type"] not in {"thinking", "redacted_thinking"}:
            raise ValueError(f"no block '{block['type']}'")
    if missing := asked - {result.tool_call_id for result in results}:
        raise ValueError(f"`tool_use` ids were found without `tool_result` blocks immediately after: {min(missing)}")
    made = [Message(role=role, parts=tuple(parts), tool_calls=tuple(calls))] if parts or calls else []
    return [*results, *made], {call.id for call in calls}


def _image(source: dict[str, str]) -> ImagePart:
    if source["type"] == "url":
        return ImagePart(url=source["url"])
    if not source["media_type"].startswith("image/"):
        raise ValueError(f"no picture is of the type {source['media_type']}")
    return ImagePart(data=pybase64.b64decode(source["data"], validate=True))
