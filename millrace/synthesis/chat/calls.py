"""What a chat model asks for, as calls that can be made and written down; whatever else it wrote is fed back to it."""

from __future__ import annotations

import json
import math
from typing import Any

from millrace.llm import Reply, ToolCall
from millrace.synthesis.environments import Action

MAX_DEPTH = 32
"""How deeply arguments may be nested; deeper ones are no call."""

WHOLE = 2**63
"""Integers beyond it are not held by every reader of JSON."""

MAX_CALL_CHARS = 100_000
"""Of a reply's text that is searched for calls."""


def actions_of(reply: Reply) -> list[Action]:
    """The calls of a reply: native ones, else those that stand in its text."""
    if reply.tool_calls:
        return [Action(printable(call.name), arguments_of(call)) for call in reply.tool_calls]
    return [Action(name, parameters) for name, parameters in written_calls(reply.text)]


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """The arguments; what is no JSON object that all can read is passed on, so that the tool's error can be fed back."""
    if call.invalid is not None:
        return {"not_json": printable(call.invalid)}
    try:
        return _object(call.arguments)
    except ValueError as error:
        return {"not_json": str(error)}


def written_calls(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The calls that a model wrote as JSON in its text, in order; other words and other objects are passed over."""
    decoder = json.JSONDecoder()
    found: list[tuple[str, dict[str, Any]]] = []
    text = text[:MAX_CALL_CHARS]
    place = 0
    while (start := text.find("{", place)) >= 0:
        try:
            value, place = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:  # not JSON, a number of thousands of digits, nested without end
            if isinstance(error, RecursionError):
                break
            place = start + 1
            continue
        action = value.get("action", value) if isinstance(value, dict) else None
        if isinstance(action, dict) and isinstance(action.get("tool_name"), str) and isinstance(action.get("parameters"), dict):
            try:
                parameters = _object(action["parameters"])
            except ValueError as error:
                parameters = {"not_json": str(error)}
            found.append((printable(action["tool_name"]), parameters))
    return found


def printable(text: str) -> str:
    """A text that can be written as UTF-8: half of a pair of surrogates is none."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _object(value: dict[str, Any]) -> dict[str, Any]:
    checked = _checked(value, 0)
    assert isinstance(checked, dict)
    return checked


def _checked(value: Any, depth: int) -> Any:
    """The value, printable.

    Raises:
        ValueError: it cannot be written as JSON that all can read; the message says why.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"the arguments are nested more than {MAX_DEPTH} deep")
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(str(name)): _checked(part, depth + 1) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_checked(part, depth + 1) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number in JSON")
    if isinstance(value, int) and not -WHOLE <= value < WHOLE:
        raise ValueError("an integer is larger than 64 bits; write it as text where the tool takes text")
    return value
