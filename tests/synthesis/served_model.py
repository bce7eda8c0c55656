"""Scripted chat models that explore with the calculator, for a real server: one calls tools natively, one in its text."""

from __future__ import annotations

import json

from millrace.llm import Reply, Request, ToolCall
from millrace.llm.providers.scripted import ScriptedChat
from millrace.run.ids import random_for


def native(request: Request) -> Reply:
    """Calls tools by the server's own tool calls."""
    if request.schema is not None:
        return written(request)
    assert request.tools, "a model with native calls must be given tools"
    calls = enumerate(expressions(request))
    return Reply(
        text="multiply",
        finish="tool_calls",
        tool_calls=tuple(ToolCall(id=f"c{n}", name="calculator", arguments={"expressions": [text]}) for n, text in calls),
    )


def plain(request: Request) -> Reply:
    """Knows no tools but those described in words, and no roles but system, user and assistant."""
    if request.schema is not None:
        return written(request)
    assert not request.tools, "a server without tool calls must not be sent tools"
    assert all(message.role != "tool" and not message.tool_calls for message in request.messages)
    assert '"expressions"' in request.messages[0].text, "the tools' parameters must be described"
    calls = [
        {"intent": "multiply", "action": {"tool_name": "calculator", "parameters": {"expressions": [text]}}}
        for text in expressions(request)
    ]
    return Reply(text=f"I would do this: {json.dumps(calls[0])} or {json.dumps(calls[1])}")


def expressions(request: Request) -> list[str]:
    """Two calculations that depend on the whole conversation."""
    rng = random_for(0, *(message.text for message in request.messages))
    return [f"{rng.randint(1_000, 9_999)} * {rng.randint(1_000, 9_999)}" for _ in range(2)]


def written(request: Request) -> Reply:
    """The question and its answer."""
    assert request.schema is not None
    calculation, _, rest = request.messages[-1].text.rpartition(" = ")
    question = f"What does {calculation.splitlines()[-1]} give?"
    return Reply(text=json.dumps({"question": question, "answer": rest.split()[0]}))


def native_model() -> ScriptedChat:
    """For `python -m millrace.llm.mock_server --provider tests.synthesis.served_model:native_model`."""
    return ScriptedChat(native, name="explorer")


def plain_model() -> ScriptedChat:
    """The other."""
    return ScriptedChat(plain, name="explorer")
