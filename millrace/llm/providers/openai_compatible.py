"""OpenAI-compatible servers: vLLM, SGLang, llama.cpp, Ollama, LiteLLM and hosted ones, by `POST /chat/completions`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import orjson

from millrace.config import Settings, parse_config
from millrace.llm import Finish, ImagePart, Message, Reply, Request, ToolCall, Usage
from millrace.llm.batches.openai_batches import OpenAIBatches
from millrace.llm.client.strict_schema import strict_problem
from millrace.llm.keys import Secret, read_key
from millrace.llm.settings import EndpointSettings, ModelSettings
from millrace.llm.transport.dialect_parts import bearer, listed_models, usage_in
from millrace.llm.transport.http_chat import HttpChat, Resources
from millrace.llm.transport.lessons import SIGNATURES, THOUGHTS
from millrace.llm.transport.reply_parts import NoAnswer, items, loose_json, mapping, token_count, words

NEEDS_ENDPOINTS = NEEDS_MODEL = OFFERS_BATCHES = True


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


def open_batches(model: HttpChat) -> OpenAIBatches:
    """The batches of the account behind an endpoint."""
    return OpenAIBatches(model)


_FINISH: dict[str, Finish] = {
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "max_completion_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "refusal": "refusal",
}
"""Also in the words that proxies pass on from other APIs; others are the model's own end."""

_FILTERS = frozenset(
    {"content_filter", "content_filtered", "sensitive", "safety", "prohibited_content", "recitation", "blocklist", "spii"}
    | {"image_safety", "guardrail_intervened", "guardrail", "moderation"}
)
"""The server's filter ended the answer."""

_BROKEN = re.compile(r"error|fail|abort|cancel|time_?d?_?out|interrupt|overload|resource|malformed|unexpected|no_image|^other$")
"""The server ended the answer: a fault of its own (`error`, `network_error`, `insufficient_system_resource`, `abort` …)."""


_REASONING = (*THOUGHTS, "reasoning", "thinking")
"""Where servers write what the model thought."""

_THOUGHT_PARTS = frozenset({"thinking", "reasoning", "redacted_thinking", "reasoning_text"})


class OpenAIDialect:
    """Requests and replies as OpenAI's chat completions write them."""

    models_path = "/models"
    never_sent: frozenset[str] = frozenset()
    added_room = 0

    def __init__(self, model: str, options: Options) -> None:
        self.model = model
        self.options = options

    def headers(self, key: Secret | None) -> list[tuple[str, str]]:
        """A bearer token."""
        return bearer(key)

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
            strict = strict_problem(request.schema) is None
            schema = {"name": "answer", "schema": request.schema, "strict": strict}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif request.schema is not None and structured == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def reply(self, body: bytes) -> Reply:
        """The first choice."""
        completion = mapping(loose_json(body))
        choices = items(completion.get("choices"))
        for told in (completion, *(mapping(choice) for choice in choices[:1])):
            if told.get("error"):
                raise ValueError(f"an error in it: {error_text(told['error'])}")
        if not choices or not isinstance(choices[0], dict) or not isinstance(choices[0].get("message"), dict):
            raise ValueError("no choice in it")
        message = choices[0]["message"]
        if message.get("error"):
            raise ValueError(f"an error in it: {error_text(message['error'])}")
        reason = words(choices[0].get("finish_reason")).lower()
        if _BROKEN.search(reason):
            raise ValueError(f"finish_reason {reason}")
        calls = tuple(_tool_call(call, index) for index, call in enumerate(items(message.get("tool_calls"))))
        text = _text_of(message.get("content"))
        finish, filtered = _FINISH.get(reason, "stop"), reason in _FILTERS
        if refusal := words(message.get("refusal")):
            text, finish = refusal, "refusal"
        if filtered:
            text, finish = text or f"blocked: {reason}", "refusal"
        if calls and finish == "stop":
            finish = "tool_calls"
        if not text and not calls and finish in {"stop", "tool_calls"}:
            thought = any(message.get(name) for name in _REASONING)
            raise NoAnswer("thoughts and no answer" if thought else "an empty choice")
        usage, model = _usage_of(completion.get("usage")), words(completion.get("model"))
        attached = {name: message[name] for name in THOUGHTS if message.get(name)} if calls else {}
        return Reply(text=text, finish=finish, filtered=filtered, tool_calls=calls, attached=attached, usage=usage, model=model)

    def usage(self, body: bytes) -> Usage:
        """Of any body."""
        return usage_in(body, _usage_of)

    def model_names(self, body: bytes) -> list[str]:
        """The ids of the list."""
        return listed_models(body)

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
                    **{name: call.attached[name] for name in SIGNATURES if name in call.attached},
                }
                for call in message.tool_calls
            ]
            written |= {name: message.attached[name] for name in THOUGHTS if name in message.attached}
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


def _tool_call(call: Any, index: int) -> ToolCall:
    function = mapping(mapping(call).get("function"))
    name = mapping(call).get("id")
    made = tool_call(words(function.get("name")), function.get("arguments"), str(name) if name else f"call_{index}")
    attached = {name: value for name in SIGNATURES if (value := mapping(mapping(call).get(name)))}
    return msgspec.structs.replace(made, attached=attached) if attached else made


def _text_of(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return words(content)
    if isinstance(content, list):  # some servers answer in parts, as one asks; thoughts are parts of another type
        parts = [part for part in content if isinstance(part, dict) and part.get("type") not in _THOUGHT_PARTS]
        return "".join(words(part.get("text")) for part in parts)
    if isinstance(content, dict):  # an answer by a schema, already taken apart
        return orjson.dumps(content).decode()
    raise ValueError("its content is no text")


def _usage_of(usage: Any) -> Usage:
    counts = mapping(usage)
    details = mapping(counts.get("prompt_tokens_details"))
    return Usage(
        input_tokens=token_count(counts.get("prompt_tokens")),
        output_tokens=token_count(counts.get("completion_tokens")),
        cached_tokens=token_count(details.get("cached_tokens")),
    )


def error_text(error: Any) -> str:
    """What an error inside an answer says, on one line."""
    said = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(said or error).split())[:200]
