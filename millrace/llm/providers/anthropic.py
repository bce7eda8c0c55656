"""Anthropic's Claude by its own Messages API: `POST /messages`, also as proxies and other makers' servers offer it.

`base_url` is `https://api.anthropic.com/v1`. A refusal by the server's classifiers (`stop_reason: refusal`) is a reply with
`finish="refusal"`; an answer that ends by `pause_turn` or by a reason that is not known is asked for again.

Source: https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypedDict

from pydantic import PositiveInt

from millrace.config import Settings, parse_config
from millrace.llm import Finish, ImagePart, JsonSchema, Message, Reply, Request, ToolCall, Usage
from millrace.llm.batches.anthropic_batches import AnthropicBatches
from millrace.llm.keys import Secret, read_key
from millrace.llm.providers.openai_compatible import error_text, tool_call
from millrace.llm.settings import EndpointSettings, ModelSettings
from millrace.llm.transport.dialect_parts import in_data_url, listed_models, usage_in
from millrace.llm.transport.http_chat import HttpChat, Resources
from millrace.llm.transport.reply_parts import NoAnswer, loose_json, mapping, token_count, words

NEEDS_ENDPOINTS = NEEDS_MODEL = OFFERS_BATCHES = True


class Options(Settings):
    """Claude's own switches (`options:` in the model's config)."""

    version: str = "2023-06-01"
    """The header `anthropic-version`."""
    default_max_tokens: PositiveInt = 4096
    """The longest answer of a request that names none: this API takes no request without one."""
    thinking_budget: PositiveInt | None = None
    """Tokens for thinking, in addition to the answer's; null leaves thinking as the model has it."""
    effort: Literal["low", "medium", "high", "max"] | None = None
    """How much newer models think and write; null leaves it to the model. Earlier ones take `thinking_budget`."""


def open_model(settings: ModelSettings, endpoint: EndpointSettings, shared: Resources) -> HttpChat:
    """The model at one endpoint."""
    options = parse_config(Options, settings.options, where="options of provider anthropic")
    key = read_key(endpoint.api_key_env, endpoint.api_key_block)
    return HttpChat(AnthropicDialect(settings.model, options), settings, endpoint, key, shared)


def open_batches(model: HttpChat) -> AnthropicBatches:
    """The batches of the account behind an endpoint."""
    return AnthropicBatches(model)


_FINISH: dict[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
    "": "stop",
}
"""Why a model stopped; "" is a compatible server that does not say. Others are no ends of an answer."""

_CHOICES = {"auto": "auto", "required": "any", "none": "none"}

_THOUGHTS = "thinking_blocks"
"""The thoughts behind calls of tools in `Reply.attached`: they go back with the calls, as they came."""

_THINKING = frozenset({"thinking", "redacted_thinking"})


class _Block(TypedDict, total=False):
    """A block of a turn: a text, a picture, a call of a tool or its result."""

    type: str
    text: str
    source: dict[str, str]
    id: str
    name: str
    input: dict[str, Any]
    tool_use_id: str
    content: str


class _Turn(TypedDict):
    """A turn of the conversation as it is sent."""

    role: str
    content: list[_Block]


class AnthropicDialect:
    """Requests and replies as the Messages API writes them."""

    models_path = "/models?limit=1000"
    never_sent = frozenset({"seed"})

    def __init__(self, model: str, options: Options) -> None:
        self.model = model
        self.options = options
        self.added_room = options.thinking_budget or 0

    def headers(self, key: Secret | None) -> list[tuple[str, str]]:
        """The key has a header of its own here; the version of the API is required."""
        return [("anthropic-version", self.options.version), *([("x-api-key", key.reveal())] if key else [])]

    def path(self, model: str) -> str:
        """The same for all models."""
        return "/messages"

    def body(self, request: Request, structured: str, images: Sequence[str]) -> dict[str, object]:
        """The body of a message request."""
        source = iter(images)
        body: dict[str, object] = {
            "model": self.model,
            "max_tokens": (request.max_tokens or self.options.default_max_tokens) + self.added_room,
            "messages": _merged([self._turn(message, source) for message in request.messages if message.role != "system"]),
        }
        told = "\n\n".join(message.text for message in request.messages if message.role == "system")
        if told:
            body["system"] = told
        for name in ("temperature", "top_p"):
            if (value := getattr(request, name)) is not None:
                body[name] = value
        if request.stop:
            body["stop_sequences"] = request.stop
        if self.added_room:
            body["thinking"] = {"type": "enabled", "budget_tokens": self.added_room}
        if request.tools:
            body["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": tool.parameters} for tool in request.tools
            ]
            body["tool_choice"] = {"type": _CHOICES[request.tool_choice]}
        if output := self._output(request.schema if structured == "native" else None):
            body["output_config"] = output
        return body

    def reply(self, body: bytes) -> Reply:
        """The blocks of the answer."""
        value = mapping(loose_json(body))
        if value.get("error"):
            raise ValueError(f"an error in it: {error_text(value['error'])}")
        if not isinstance(value.get("content"), list):
            raise ValueError("no content in it")
        blocks = [block for block in value["content"] if isinstance(block, dict)]
        reason = words(value.get("stop_reason")).lower()
        finish = _FINISH.get(reason)
        if finish is None:
            raise ValueError(f"stop_reason {reason}")
        text = "".join(words(block.get("text")) for block in blocks if block.get("type") == "text")
        calls = tuple(_call(block, index) for index, block in enumerate(blocks) if block.get("type") == "tool_use")
        usage, model = _usage_of(value.get("usage")), words(value.get("model"))
        if finish == "refusal":
            return Reply(text=text or "blocked: refusal", finish="refusal", filtered=True, usage=usage, model=model)
        thoughts = [block for block in blocks if block.get("type") in _THINKING]
        if not text and not calls and finish != "length":
            raise NoAnswer("thoughts and no answer" if thoughts else "an empty answer")
        attached = {_THOUGHTS: thoughts} if calls and thoughts else {}
        if calls and finish == "stop":
            finish = "tool_calls"
        return Reply(text=text, finish=finish, tool_calls=calls, attached=attached, usage=usage, model=model)

    def usage(self, body: bytes) -> Usage:
        """Of any body."""
        return usage_in(body, _usage_of)

    def model_names(self, body: bytes) -> list[str]:
        """The ids of the list."""
        return listed_models(body)

    def _output(self, schema: JsonSchema | None) -> dict[str, object]:
        output: dict[str, object] = {}
        if schema is not None:
            output["format"] = {"type": "json_schema", "schema": schema}
        if self.options.effort is not None:
            output["effort"] = self.options.effort
        return output

    def _turn(self, message: Message, images: Iterator[str]) -> _Turn:
        if message.role == "tool":
            result: _Block = {"type": "tool_result", "tool_use_id": message.tool_call_id or "", "content": message.text}
            return {"role": "user", "content": [result]}
        blocks: list[_Block] = [*message.attached.get(_THOUGHTS, ())] if message.tool_calls else []
        for part in message.parts:
            if isinstance(part, ImagePart):
                blocks.append({"type": "image", "source": _source(next(images))})
            elif part:  # an empty text is refused
                blocks.append({"type": "text", "text": part})
        blocks += [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in message.tool_calls]
        return {"role": message.role, "content": blocks or [{"type": "text", "text": "(nothing)"}]}


def _source(written: str) -> dict[str, str]:
    """From a data URL (or a plain one) to the two ways of giving an image."""
    inside = in_data_url(written)
    if inside is None:
        return {"type": "url", "url": written}
    return {"type": "base64", "media_type": inside[0], "data": inside[1]}


def _merged(turns: list[_Turn]) -> list[_Turn]:
    """Neighbouring turns of one role as one turn: all results of a turn of calls stand in the turn after it."""
    merged: list[_Turn] = []
    for turn in turns:
        if merged and merged[-1]["role"] == turn["role"]:
            merged[-1] = {"role": turn["role"], "content": [*merged[-1]["content"], *turn["content"]]}
        else:
            merged.append(turn)
    return merged


def _call(block: dict[str, Any], index: int) -> ToolCall:
    return tool_call(words(block.get("name")), block.get("input"), words(block.get("id")) or f"call_{index}")


def _usage_of(usage: Any) -> Usage:
    """Here the cached part of a prompt is counted apart from the rest of it."""
    counts = mapping(usage)
    read, written = (token_count(counts.get(f"cache_{what}_input_tokens")) for what in ("read", "creation"))
    plain = token_count(counts.get("input_tokens"))
    return Usage(
        input_tokens=None if plain is None else plain + (read or 0) + (written or 0),
        output_tokens=token_count(counts.get("output_tokens")),
        cached_tokens=read,
    )
