"""The server's side of OpenAI's chat completions: a body as a `Request`, a `Reply` as a body."""

from __future__ import annotations

from typing import Any

import orjson
import pybase64

from millrace.llm import ImagePart, Message, Reply, Request, Tool, tool
from millrace.llm.providers.openai_compatible import tool_call


def request_of(body: bytes) -> Request:
    """The request in the body of a chat completion.

    Raises:
        ValueError: it is none; the message says why.
    """
    try:
        value = orjson.loads(body)
        messages = tuple(_message_of(message) for message in value["messages"])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a chat request: {type(error).__name__} {error}") from error
    if not messages:
        raise ValueError("a chat request needs messages")
    form = value.get("response_format") or {}
    schema = (form.get("json_schema") or {}).get("schema") if form.get("type") == "json_schema" else None
    tools = tuple(_tool_of(one["function"]) for one in value.get("tools") or ())
    choice = value.get("tool_choice", "auto")
    stop = value.get("stop") or ()
    return Request(
        messages=messages,
        tools=tools,
        tool_choice=choice if choice in {"auto", "required", "none"} else "auto",
        schema=schema,
        temperature=value.get("temperature"),
        top_p=value.get("top_p"),
        max_tokens=value.get("max_tokens") or value.get("max_completion_tokens"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        seed=value.get("seed"),
    )


def body_of(reply: Reply, model: str, number: int) -> bytes:
    """The body of the answer."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    reason: str = reply.finish
    if reply.filtered:
        message, reason = {"role": "assistant", "content": None}, "content_filter"
    elif reply.finish == "refusal":
        reason = "stop"
        message = {"role": "assistant", "content": None, "refusal": reply.text or "refused"}
    if reply.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()},
            }
            for call in reply.tool_calls
        ]
    usage = {"prompt_tokens": reply.usage.input_tokens, "completion_tokens": reply.usage.output_tokens}
    counted = [count for count in usage.values() if count is not None]
    return orjson.dumps(
        {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion",
            "created": 0,
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": {**usage, "total_tokens": sum(counted)} if counted else None,
        }
    )


def required(value: dict[str, Any], *fields: str) -> None:
    """See that a body has `fields`.

    Raises:
        ValueError: one is missing; the message names it.
    """
    for field in fields:
        if not value.get(field):
            raise ValueError(f"{field}: Field required")


def _message_of(message: dict[str, Any]) -> Message:
    content = message.get("content")
    parts: tuple[str | ImagePart, ...]
    if content is None:
        parts = ()
    elif isinstance(content, str):
        parts = (content,)
    else:
        parts = tuple(_part_of(part) for part in content)
    calls = tuple(
        tool_call(call["function"]["name"], call["function"].get("arguments"), call["id"])
        for call in message.get("tool_calls") or ()
    )
    role: Any = message["role"]
    if role not in {"system", "user", "assistant", "tool", "developer"}:
        raise ValueError(f"no role '{role}'")
    role = "system" if role == "developer" else role
    return Message(role=role, parts=parts, tool_calls=calls, tool_call_id=message.get("tool_call_id"))


def _part_of(part: dict[str, Any]) -> str | ImagePart:
    if part["type"] == "text":
        return str(part["text"])
    if part["type"] != "image_url":
        raise ValueError(f"no content part '{part['type']}'")
    return image_at(part["image_url"]["url"])


def image_at(url: str) -> ImagePart:
    """The picture in a data URL, or the URL of one."""
    if not url.startswith("data:"):
        return ImagePart(url=url)
    return ImagePart(data=pybase64.b64decode(url.partition(";base64,")[2], validate=True))


def _tool_of(function: dict[str, Any]) -> Tool:
    return tool(function["name"], function.get("description", ""), function.get("parameters") or {"type": "object"})
