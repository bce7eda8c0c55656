"""OpenAI-compatible servers: vLLM, SGLang, llama.cpp, Ollama, LiteLLM and hosted ones, by `POST /chat/completions`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import orjson

from millrace.config import Settings, parse_config
from millrace.llm import Finish, ImagePart, Message, Reply, Request, ToolCall, Usage
from millrace.llm.keys import Secret, read_key
from millrace.llm.settings import EndpointSettings, ModelSettings
from millrace.llm.transport.http_chat import HttpChat, Resources


class Options(Settings):
    """What differs between servers of this kind (`options:` in the model's config)."""

    max_tokens_field: str = "max_tokens"
    """The body's field for the longest answer; hosted reasoning models want `max_completion_tokens`."""
    image_detail: str | None = None
    """`low`, `high` or `auto` where the server knows `detail`; null leaves it out."""


def open_model(settings: ModelSettings, endpoint: EndpointSettings, shared: Resources) -> HttpChat:
    """The model at one endpoint."""
    options = parse_config(Options, settings.options, where="options of provider openai_compatible")
    return HttpChat(
        OpenAIDialect(settings.model, options), settings, endpoint, read_key(endpoint.api_key_env, endpoint.api_key_block), shared
    )


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None


class _Call(msgspec.Struct):
    id: str | None = None
    function: _Function = msgspec.field(default_factory=_Function)


class _Message(msgspec.Struct):
    content: Any = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: dict[str, Any] | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None
    model: str | None = None


_decoder = msgspec.json.Decoder(_Completion)

_FINISH: dict[str | None, Finish] = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "refusal",
}


class OpenAIDialect:
    """Requests and replies as OpenAI's chat completions write them."""

    models_path = "/models"

    def __init__(self, model: str, options: Options) -> None:
        self.model = model
        self.options = options

    def headers(self, key: Secret | None) -> list[tuple[str, str]]:
        """A bearer token."""
        return [("authorization", f"Bearer {key.reveal()}")] if key else []

    def path(self, model: str) -> str:
        """The same for all models."""
        return "/chat/completions"

    def body(self, request: Request, structured: str, images: Sequence[str]) -> dict[str, object]:
        """The body of a chat completion."""
        source = iter(images)
        body: dict[str, object] = {
            "model": self.model,
            "messages": [self._message(message, source) for message in request.messages],
        }
        for name in ("temperature", "top_p", "seed"):
            if (value := getattr(request, name)) is not None:
                body[name] = value
        if request.max_tokens is not None:
            body[self.options.max_tokens_field] = request.max_tokens
        if request.stop:
            body["stop"] = request.stop
        if request.tools:
            body["tools"] = [{"type": "function", "function": msgspec.structs.asdict(tool)} for tool in request.tools]
            body["tool_choice"] = request.tool_choice
        if request.schema is not None and structured == "native":
            schema = {"name": "answer", "schema": request.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif request.schema is not None and structured == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def reply(self, body: bytes) -> Reply:
        """The first choice."""
        completion = _decoder.decode(body)
        if not completion.choices:
            raise ValueError("no choice in it")
        choice = completion.choices[0]
        message = choice.message
        calls = tuple(_tool_call(call, index) for index, call in enumerate(message.tool_calls or ()))
        text = _text_of(message.content)
        finish = _FINISH.get(choice.finish_reason, "stop")
        if message.refusal:
            text, finish = message.refusal, "refusal"
        if calls and finish == "stop":
            finish = "tool_calls"
        if not text and not calls and finish == "stop" and message.content is None:
            raise ValueError("an empty choice")
        return Reply(text=text, finish=finish, tool_calls=calls, usage=_usage_of(completion.usage), model=completion.model or "")

    def model_names(self, body: bytes) -> list[str]:
        """The ids of the list."""
        return [entry["id"] for entry in orjson.loads(body)["data"]]

    def _message(self, message: Message, images: Iterator[str]) -> dict[str, object]:
        if message.role == "tool":
            return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.text}
        written: dict[str, object] = {"role": message.role, "content": self._content(message, images)}
        if message.tool_calls:
            written["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.invalid or orjson.dumps(call.arguments).decode()},
                }
                for call in message.tool_calls
            ]
        return written

    def _content(self, message: Message, images: Iterator[str]) -> object:
        if len(message.parts) == 1 and isinstance(message.parts[0], str):
            return message.parts[0]
        if not message.parts:
            return None if message.tool_calls else ""
        detail = {} if self.options.image_detail is None else {"detail": self.options.image_detail}
        return [
            {"type": "image_url", "image_url": {"url": next(images), **detail}}
            if isinstance(part, ImagePart)
            else {"type": "text", "text": part}
            for part in message.parts
        ]


def tool_call(name: str, raw: Any, call_id: str) -> ToolCall:
    """A tool call whose arguments may be text, an object, or nonsense."""
    if isinstance(raw, dict):
        return ToolCall(id=call_id, name=name, arguments=raw)
    text = "" if raw is None else str(raw)
    try:
        value = orjson.loads(text) if text.strip() else {}
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, dict):
        return ToolCall(id=call_id, name=name, arguments=value)
    return ToolCall(id=call_id, name=name, arguments={}, invalid=text)


def _tool_call(call: _Call, index: int) -> ToolCall:
    return tool_call(call.function.name or "", call.function.arguments, call.id or f"call_{index}")


def _text_of(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):  # some servers answer in parts, as one asks
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    raise ValueError("its content is no text")


def _usage_of(usage: _Usage | None) -> Usage:
    if usage is None:
        return Usage()
    cached = (usage.prompt_tokens_details or {}).get("cached_tokens")
    return Usage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cached_tokens=cached if isinstance(cached, int) else None,
    )
