"""What a chat model is: one protocol, and the records that go in and come out.

Everything in this folder speaks these types: a provider (one server, one attempt), the durable client around it (limits, retries,
journal, ledger) and whoever asks (baseline, judge, writer, policy). Import them from here; nothing heavy is imported along.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

Role = Literal["system", "user", "assistant", "tool"]

Finish = Literal["stop", "length", "tool_calls", "refusal"]
"""Why the model stopped: at its own end, at `max_tokens`, to call tools, or because it (or the server's filter) refused."""


class ImagePart(msgspec.Struct, frozen=True, kw_only=True, weakref=True):
    """One image of a message: its encoded bytes, or the path of a local file, or a URL the *server* fetches; exactly one of them.

    Bytes and files are read, resized by the client's image policy and encoded once, off the event loop's thread; a URL is sent
    as it is.
    """

    data: bytes | None = None
    """An encoded image (JPEG, PNG, WebP, GIF), not pixels."""
    path: str | None = None
    url: str | None = None
    """`http(s)://` or `file://` as the server sees it. The URL itself stands for the content in the journal's key."""

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.data, self.path, self.url)) != 1:
            raise ValueError("an image part has exactly one of data, path and url")


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """The model asks for a tool."""

    id: str
    name: str
    arguments: dict[str, Any]
    """Parsed arguments; {} when the model wrote something that is not a JSON object (see `invalid`)."""
    invalid: str | None = None
    """The text the model wrote as arguments where that is no JSON object, to be fed back to it as an error; else None."""
    attached: dict[str, Any] = {}
    """What the server attached to the call and wants to see again with it (a thought's signature); opaque."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a conversation. Use `system()`, `user()`, `assistant()` and `tool_result()` to make one."""

    role: Role
    parts: tuple[str | ImagePart, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    """Only for an assistant's turn."""
    tool_call_id: str | None = None
    """Only for a tool's turn: the call it answers."""
    tool_name: str | None = None
    """Only for a tool's turn: the tool that answers (Gemini matches answers by name)."""
    attached: dict[str, Any] = {}
    """Only for an assistant's turn: `Reply.attached` of the reply that it repeats."""

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def images(self) -> tuple[ImagePart, ...]:
        """The image parts, in order."""
        return tuple(part for part in self.parts if isinstance(part, ImagePart))


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool the model may call."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON schema of the arguments, an object schema."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a chat model.

    Everything except `stage` and `timeout_s` decides what is asked and is part of the journal's content key: the same request is
    paid for once. To draw several answers to the same messages give each another `sample`.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: Literal["auto", "required", "none"] = "auto"
    """Only sent when there are tools."""
    schema: dict[str, Any] | None = None
    """JSON schema the answer must satisfy; the parsed value is `Reply.value`. None: free text."""
    temperature: float | None = None
    """None leaves it to the server, as for all sampling parameters."""
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    extra: dict[str, Any] = {}
    """Fields added to the request's body as they are (`top_k`, `chat_template_kwargs`, …), for servers' own switches."""
    sample: int = 0
    """Which of several answers to the same question this is. Not sent to the server; it only tells the answers apart."""
    stage: str = ""
    """What the call is for ("judge", "write", …): a line of the ledger. Not sent, not part of the content key."""
    timeout_s: float | None = None
    """Seconds for one attempt; None takes the model's setting. Not part of the content key."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens the server says it counted; None where it says nothing."""

    input_tokens: int | None = None
    """All of the prompt, cached part included."""
    output_tokens: int | None = None
    """All that was generated, thinking included."""
    cached_tokens: int | None = None
    """The part of the prompt the server took from its cache."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A chat model's answer to one request."""

    text: str
    """What the model wrote; "" when it only called tools or refused without a word."""
    finish: Finish = "stop"
    filtered: bool = False
    """With `finish="refusal"`: a filter of the server refused the question or the answer, not the model itself."""
    tool_calls: tuple[ToolCall, ...] = ()
    attached: dict[str, Any] = {}
    """What the server attached to its turn (the thoughts of a model that wants them back); pass it on in `assistant()`."""
    value: Any = None
    """The parsed answer of a request with a schema (it satisfies the schema); None without one."""
    usage: Usage = Usage()
    model: str = ""
    """The model's name as the server gives it."""
    endpoint: str = ""
    """Which endpoint answered: scheme, host and port, never a key."""
    latency_s: float | None = None
    """Seconds of the successful attempt; None when nothing was measured."""
    attempts: int = 1
    """Requests this answer took, failed ones included; 0 for a replayed answer."""
    cost_usd: float | None = None
    """By the config's price or the list; None when price or tokens are unknown. For a replayed answer what it cost then."""
    replayed: bool = False
    """It comes from the journal: nothing was sent and nothing was paid now."""


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
        """Let go of connections, threads and files. Harmless when called twice."""
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
    return Tool(name=name, description=description, parameters=dict(parameters))
