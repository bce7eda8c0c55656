"""What a chat model is: one protocol, and the records that go in and come out.

Everything in this folder speaks these types: a provider (one server, one attempt), the durable client around it (limits, retries,
journal, ledger) and what asks (baseline, judge, writer, policy). Import them from here; nothing heavy is imported along.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast, runtime_checkable

from millrace.records.llm import Finish, ImagePart, JsonSchema, Message, Reply, Request, Role, Tool, ToolCall, Usage

__all__ = [
    "ChatModel", "Finish", "ImagePart", "JsonSchema", "Message", "Reply", "Request", "Role", "Tool", "ToolCall", "Usage",
    "assistant", "system", "tool", "tool_result", "user",
]  # fmt: skip


@runtime_checkable
class ChatModel(Protocol):
    """Answers chat requests. A provider makes one attempt per `complete`; the durable client wraps providers."""

    @property
    def name(self) -> str:
        """The model's name for records and the ledger."""
        ...

    async def complete(self, request: Request) -> Reply:
        """The model's reply.

        Raises:
            ItemFailed: this request will not be answered; the caller makes a record of it. `CallFailed`: the server refused it or
                all attempts failed; `ReplyInvalid`: the model answered, but not as the schema asks (the model's own fault).
            RunFailed: no request will be answered (`EndpointDown`). The run stops.
            ShortOfTarget: the budget is spent (`BudgetSpent`). The run finishes what it has.
        """
        ...

    async def close(self) -> None:
        """Close connections, threads and files. Harmless when called twice."""
        ...


def system(text: str) -> Message:
    """A system message."""
    return Message(role="system", parts=(text,))


def user(*parts: str | ImagePart) -> Message:
    """A user's message of texts and images, in order."""
    return Message(role="user", parts=parts)


def assistant(text: str = "", *, tool_calls: tuple[ToolCall, ...] = (), attached: Mapping[str, Any] | None = None) -> Message:
    """An assistant's earlier turn: the `text`, `tool_calls` and `attached` of its reply."""
    return Message(role="assistant", parts=(text,) if text else (), tool_calls=tool_calls, attached=dict(attached or {}))


def tool_result(call: ToolCall, text: str) -> Message:
    """What a tool answered to `call`."""
    return Message(role="tool", parts=(text,), tool_call_id=call.id, tool_name=call.name)


def tool(name: str, description: str, parameters: Mapping[str, Any]) -> Tool:
    """A tool with a JSON schema for its arguments."""
    return Tool(name=name, description=description, parameters=cast("JsonSchema", dict(parameters)))
