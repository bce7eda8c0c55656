"""What chat models are asked and answer, what that took, and what was found out about their servers.

`Reply`, `LedgerRow` and `Abilities` stand in files of a run; the others travel between callers, the client and providers.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypedDict

import msgspec

from millrace.records.record import Record

Role = Literal["system", "user", "assistant", "tool"]

Finish = Literal["stop", "length", "tool_calls", "refusal"]
"""Why the model stopped: at its own end, at `max_tokens`, to call tools, or because it (or the server's filter) refused."""

FailureKind = Literal["connection", "timeout", "overload", "server", "malformed", "rejected", "credentials"]
"""Classes of a failed attempt.

connection: no server answers or the line broke; costs no attempt, the breaker counts it.
timeout: no complete answer in time.      server: 5xx.      malformed: a 200 that is no chat reply.
overload: 429, 503, 529, an account that may be empty; costs no attempt, the in-flight limit goes down.
rejected: any other 4xx or a redirect; never repeated.      credentials: 401, 403; never repeated, ends a run soon.
"""

SchemaMode = Literal["native", "plain", "json_object", "prompt"]
"""How a schema reaches a server: its own mode, the same without limits on values, its JSON mode, in words."""

JsonSchema = TypedDict(
    "JsonSchema",
    {
        "$schema": str,
        "$id": str,
        "$comment": str,
        "$ref": str,
        "$defs": dict[str, "JsonSchema"],
        "title": str,
        "description": str,
        "type": str | list[str],
        "properties": dict[str, "JsonSchema"],
        "required": list[str],
        "additionalProperties": "bool | JsonSchema",
        "items": "JsonSchema",
        "enum": list[Any],
        "const": Any,
        "default": Any,
        "examples": list[Any],
        "anyOf": list["JsonSchema"],
        "oneOf": list["JsonSchema"],
        "allOf": list["JsonSchema"],
        "format": str,
        "pattern": str,
        "minLength": int,
        "maxLength": int,
        "minimum": float,
        "maximum": float,
        "exclusiveMinimum": float,
        "exclusiveMaximum": float,
        "multipleOf": float,
        "minItems": int,
        "maxItems": int,
        "uniqueItems": bool,
        "minProperties": int,
        "maxProperties": int,
    },
    total=False,
)
"""A JSON schema (draft 2020-12) with the keywords that are understood here. What is sent is the mapping itself.

https://json-schema.org/draft/2020-12
"""


class ImagePart(msgspec.Struct, frozen=True, kw_only=True, weakref=True):
    """One image of a message: its encoded bytes, or the path of a local file, or a URL the *server* fetches; exactly one of them.

    Bytes and files are read, resized by the client's image policy and encoded once, off the event loop's thread; a URL is sent
    as it is.
    """

    SCHEMA: ClassVar[str] = "millrace.image_part/1"

    data: bytes | None = None
    """An encoded image (JPEG, PNG, WebP, GIF), not pixels."""
    path: str | None = None
    url: str | None = None
    """`http(s)://` or `file://` as the server sees it. The URL itself stands for the content in the journal's key."""

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.data, self.path, self.url)) != 1:
            raise ValueError("an image part has exactly one of data, path and url")


Attached = dict[str, Any]
"""What a server wants to see again with a turn, by the names of its own fields; opaque. Source: the server's reply."""


class ToolCall(Record, frozen=True, kw_only=True):
    """The model asks for a tool."""

    SCHEMA: ClassVar[str] = "millrace.tool_call/1"

    id: str
    name: str
    arguments: dict[str, Any]
    """Parsed arguments; {} when the model wrote something that is not a JSON object (see `invalid`)."""
    invalid: str | None = None
    """The text the model wrote as arguments where that is no JSON object, to be fed back to it as an error; else None."""
    attached: Attached = {}
    """What the server attached to the call and wants to see again with it (a thought's signature); opaque."""


class Message(Record, frozen=True, kw_only=True):
    """One turn of a conversation. Use `system()`, `user()`, `assistant()` and `tool_result()` to make one."""

    SCHEMA: ClassVar[str] = "millrace.message/1"

    role: Role
    parts: tuple[str | ImagePart, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    """Only for an assistant's turn."""
    tool_call_id: str | None = None
    """Only for a tool's turn: the call it answers."""
    tool_name: str | None = None
    """Only for a tool's turn: the tool that answers (Gemini matches answers by name)."""
    attached: Attached = {}
    """Only for an assistant's turn: `Reply.attached` of the reply that it repeats."""

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def images(self) -> tuple[ImagePart, ...]:
        """The image parts, in order."""
        return tuple(part for part in self.parts if isinstance(part, ImagePart))


class Tool(Record, frozen=True, kw_only=True):
    """A tool the model may call."""

    SCHEMA: ClassVar[str] = "millrace.tool/1"

    name: str
    description: str
    parameters: JsonSchema
    """JSON schema of the arguments, an object schema."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a chat model.

    Everything except `stage` and `timeout_s` decides what is asked and is part of the journal's content key: the same request is
    paid for once. To draw several answers to the same messages give each another `sample`.
    """

    SCHEMA: ClassVar[str] = "millrace.request/1"

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: Literal["auto", "required", "none"] = "auto"
    """Only sent when there are tools."""
    schema: JsonSchema | None = None
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


class Usage(Record, frozen=True, kw_only=True):
    """Tokens the server says it counted; None where it says nothing."""

    SCHEMA: ClassVar[str] = "millrace.usage/1"

    input_tokens: int | None = None
    """All of the prompt, cached part included."""
    output_tokens: int | None = None
    """All that was generated, thinking included."""
    cached_tokens: int | None = None
    """The part of the prompt the server took from its cache."""


class Reply(Record, frozen=True, kw_only=True):
    """A chat model's answer to one request."""

    SCHEMA: ClassVar[str] = "millrace.reply/1"

    text: str
    """What the model wrote; "" when it only called tools or refused without a word."""
    finish: Finish = "stop"
    filtered: bool = False
    """With `finish="refusal"`: a filter of the server refused the question or the answer, not the model itself."""
    tool_calls: tuple[ToolCall, ...] = ()
    attached: Attached = {}
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


class LedgerRow(Record, frozen=True, kw_only=True):
    """A line of a run's ledger: the sums of one stage, model and day (UTC). Counted by the client, tokens by the server."""

    SCHEMA: ClassVar[str] = "millrace.ledger_row/1"

    day: str
    """`YYYY-MM-DD`."""
    stage: str
    """`Request.stage` of the calls."""
    model: str
    """As the server names it."""
    calls: int = 0
    """Answers paid for."""
    requests: int = 0
    """Requests sent for them, failed attempts included."""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """These three of the calls whose server counts them."""
    cost_usd: float = 0.0
    """US dollars, of the calls whose cost is known."""
    unknown_cost: int = 0
    """Calls whose cost is not known."""
    unknown_tokens: int = 0
    """Calls whose server counted no tokens."""
    cut_off: int = 0
    """Answers that broke off at their longest length."""
    discarded: int = 0
    """Replies that could not be used and were asked for again; their tokens and cost count, as far as they tell them."""
    filtered: int = 0
    """Questions or answers that a filter of the server refused."""

    def plus(self, other: LedgerRow) -> LedgerRow:
        """Both rows' sums, under this one's name."""
        return msgspec.structs.replace(self, **{name: getattr(self, name) + getattr(other, name) for name in LEDGER_SUMS})


LEDGER_SUMS = (
    *("calls", "requests", "input_tokens", "output_tokens", "cached_tokens"),
    *("cost_usd", "unknown_cost", "unknown_tokens", "cut_off", "discarded", "filtered"),
)
"""The fields of a ledger row that add up."""


class Abilities(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What was found about one model at one base URL, by the server's own answers; a file of the run's folder."""

    SCHEMA: ClassVar[str] = "millrace.abilities/1"

    base_url: str
    model: str
    ignores_schemas: bool = False
    """It takes schemas and does not go by them."""
    schema_modes: dict[str, SchemaMode] = {}
    """Schema (its digest) → how it has to be said, because the endpoint refused more."""
    left_out: list[str] = []
    """Fields of a request that it refuses and that no answer depends on being there."""
    renamed: dict[str, str] = {}
    """Our name of a field → the name that it wants."""
    wants_thoughts: bool = False
    """It takes no turn with calls of tools without the thoughts behind them."""
    no_system_role: bool = False
    """It takes no system message: what it says goes in front of the first question."""


class ListPrice(Record, frozen=True, kw_only=True):
    """A model of the price list of the library `genai-prices`: what its calls cost is looked up there, call by call."""

    SCHEMA: ClassVar[str] = "millrace.list_price/1"

    model: str
    provider: str
