"""The server's side of OpenAI's Responses API. Fields that it does not have are refused, as by the real one."""

from __future__ import annotations

from typing import Any

import orjson

from millrace.llm import ImagePart, Message, Reply, Request, ToolCall, tool
from millrace.llm.mock_server.chat_bodies import image_at, required
from millrace.llm.providers.openai_compatible import tool_call

FIELDS = frozenset(
    {"model", "input", "instructions", "store", "temperature", "top_p", "max_output_tokens", "reasoning", "tools"}
    | {"tool_choice", "include", "text", "metadata", "stream", "user", "parallel_tool_calls", "truncation", "service_tier"}
)
"""What the API has; anything else is refused."""


def request_of(body: bytes) -> Request:
    """The request in a body.

    Raises:
        ValueError: it is none; the message says why.
    """
    try:
        value = orjson.loads(body)
        if unknown := set(value) - FIELDS:
            raise ValueError(f"Unknown parameter: '{min(unknown)}'.")
        required(value, "input")
        given = value["input"]
        entries = [{"role": "user", "content": given}] if isinstance(given, str) else given
        messages = _messages(entries)
        form = (value.get("text") or {}).get("format") or {}
        tools = tuple(tool(one["name"], one.get("description", ""), one["parameters"]) for one in value.get("tools") or ())
        choice = value.get("tool_choice", "auto")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a request for a response: {type(error).__name__} {error}") from error
    if not messages:
        raise ValueError("a request needs input")
    return Request(
        messages=tuple(messages),
        tools=tools,
        tool_choice=choice if choice in {"auto", "required", "none"} else "auto",
        schema=form.get("schema") if form.get("type") == "json_schema" else None,
        temperature=value.get("temperature"),
        top_p=value.get("top_p"),
        max_tokens=value.get("max_output_tokens"),
    )


def body_of(reply: Reply, model: str, number: int) -> bytes:
    """The body of the answer."""
    output: list[dict[str, Any]] = []
    cut, filtered = reply.finish == "length", reply.filtered
    if reply.finish == "refusal" and not filtered:
        output.append(_said({"type": "refusal", "refusal": reply.text or "refused"}, number))
    elif reply.text and not filtered:
        output.append(_said({"type": "output_text", "text": reply.text, "annotations": []}, number))
    output += [
        {
            "type": "function_call",
            "id": f"fc_{number}_{index}",
            "call_id": call.id,
            "name": call.name,
            "arguments": orjson.dumps(call.arguments).decode(),
        }
        for index, call in enumerate(reply.tool_calls)
    ]
    usage = {"input_tokens": reply.usage.input_tokens, "output_tokens": reply.usage.output_tokens}
    counted = [count for count in usage.values() if count is not None]
    return orjson.dumps(
        {
            "id": f"resp_{number}",
            "object": "response",
            "created_at": 0,
            "model": model,
            "status": "incomplete" if cut or filtered else "completed",
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens" if cut else "content_filter"} if cut or filtered else None,
            "output": output,
            "usage": {**usage, "total_tokens": sum(counted)} if counted else None,
        }
    )


def _said(part: dict[str, Any], number: int) -> dict[str, Any]:
    return {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed", "content": [part]}


def _messages(entries: list[dict[str, Any]]) -> list[Message]:
    """The turns that a list of items stands for: calls belong to the assistant's turn before them."""
    messages: list[Message] = []
    called: set[str] = set()
    for entry in entries:
        kind = entry.get("type", "message")
        if kind == "message":
            role: Any = {"developer": "system"}.get(entry["role"], entry["role"])
            if role not in {"system", "user", "assistant"}:
                raise ValueError(f"no role '{role}'")
            messages.append(Message(role=role, parts=_parts(entry["content"], role)))
        elif kind == "function_call":
            call = tool_call(entry["name"], entry["arguments"], entry["call_id"])
            called.add(call.id)
            _add_call(messages, call)
        elif kind == "function_call_output":
            if entry["call_id"] not in called:
                raise ValueError(f"No tool call found for function call output with call_id {entry['call_id']}.")
            messages.append(Message(role="tool", parts=(entry["output"],), tool_call_id=entry["call_id"]))
        elif kind != "reasoning":
            raise ValueError(f"no item '{kind}'")
    return messages


def _add_call(messages: list[Message], call: ToolCall) -> None:
    if messages and messages[-1].role == "assistant":
        last = messages.pop()
        messages.append(Message(role="assistant", parts=last.parts, tool_calls=(*last.tool_calls, call)))
    else:
        messages.append(Message(role="assistant", tool_calls=(call,)))


def _parts(content: str | list[dict[str, Any]], role: str) -> tuple[str | ImagePart, ...]:
    if isinstance(content, str):
        return (content,)
    wanted = "output_text" if role == "assistant" else "input_text"
    parts: list[str | ImagePart] = []
    for part in content:
        if part["type"] == wanted:
            parts.append(part["text"])
        elif part["type"] == "input_image" and role == "user":
            parts.append(image_at(part["image_url"]))
        else:
            raise ValueError(f"Invalid value: '{part['type']}'. Supported values are: '{wanted}'")
    return tuple(parts)
