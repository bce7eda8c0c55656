"""Servers that speak OpenAI's Responses API: `POST /responses`. OpenAI itself, and others that offer the same form.

Nothing is kept on the server (`store: false`): each request carries the whole conversation, so a journal of paid answers can
replay it. The thoughts behind calls of tools come back encrypted and are sent again with the calls.

Source: https://platform.openai.com/docs/api-reference/responses and https://www.openresponses.org/reference
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import orjson

from millrace.config import Settings, parse_config
from millrace.llm import Finish, ImagePart, Message, Reply, Request, Usage
from millrace.llm.client.strict_schema import strict_problem
from millrace.llm.keys import Secret, read_key
from millrace.llm.providers.openai_compatible import error_text, tool_call
from millrace.llm.settings import EndpointSettings, ModelSettings
from millrace.llm.transport.dialect_parts import bearer, listed_models, usage_in
from millrace.llm.transport.http_chat import HttpChat, Resources
from millrace.llm.transport.reply_parts import NoAnswer, items, loose_json, mapping, token_count, words

NEEDS_ENDPOINTS = NEEDS_MODEL = True


class Options(Settings):
    """What this API has beside the others (`options:` in the model's config)."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    """How much a reasoning model thinks; null leaves it to the model."""
    image_detail: Literal["low", "high", "auto"] | None = None
    """How closely pictures are looked at; null leaves it out."""


def open_model(settings: ModelSettings, endpoint: EndpointSettings, shared: Resources) -> HttpChat:
    """The model at one endpoint."""
    options = parse_config(Options, settings.options, where="options of provider openai_responses")
    key = read_key(endpoint.api_key_env, endpoint.api_key_block)
    return HttpChat(ResponsesDialect(settings.model, options), settings, endpoint, key, shared)


_THOUGHTS = "reasoning_items"
"""The thoughts behind calls of tools in `Reply.attached`: they go back before the calls, as they came."""

_CUT = {"max_output_tokens", "max_tokens", "length"}
_FILTERED = {"content_filter", "safety"}
"""Why an answer is incomplete: no room left, or a filter. Other reasons are a fault of the server."""


class ResponsesDialect:
    """Requests and replies as the Responses API writes them."""

    models_path = "/models"
    never_sent = frozenset({"stop", "seed"})
    added_room = 0

    def __init__(self, model: str, options: Options) -> None:
        self.model = model
        self.options = options

    def headers(self, key: Secret | None) -> list[tuple[str, str]]:
        """A bearer token."""
        return bearer(key)

    def path(self, model: str) -> str:
        """The same for all models."""
        return "/responses"

    def body(self, request: Request, structured: str, images: Sequence[str]) -> dict[str, object]:
        """The body of a request for a response."""
        source = iter(images)
        body: dict[str, object] = {
            "model": self.model,
            "input": [item for message in request.messages for item in self._items(message, source)],
            "store": False,
        }
        for name in ("temperature", "top_p"):
            if (value := getattr(request, name)) is not None:
                body[name] = value
        if request.max_tokens is not None:
            body["max_output_tokens"] = request.max_tokens
        if self.options.effort is not None:
            body["reasoning"] = {"effort": self.options.effort}
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                    "strict": False,
                }
                for tool in request.tools
            ]
            body["tool_choice"] = request.tool_choice
            body["include"] = ["reasoning.encrypted_content"]
        if request.schema is not None and structured == "native":
            strict = strict_problem(request.schema) is None
            body["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": request.schema, "strict": strict}}
        elif request.schema is not None and structured == "json_object":
            body["text"] = {"format": {"type": "json_object"}}
        return body

    def reply(self, body: bytes) -> Reply:
        """What the output items say."""
        value = mapping(loose_json(body))
        if value.get("error"):
            raise ValueError(f"an error in it: {error_text(value['error'])}")
        if not isinstance(value.get("output"), list):
            raise ValueError("no output in it")
        status = words(value.get("status")) or "completed"
        reason = words(mapping(value.get("incomplete_details")).get("reason"))
        if status not in {"completed", "incomplete"} or (status == "incomplete" and reason not in _CUT | _FILTERED):
            raise ValueError(f"status {status}" + (f" ({reason})" if reason else ""))
        output = [item for item in value["output"] if isinstance(item, dict)]
        parts = [mapping(part) for item in output if item.get("type") == "message" for part in items(item.get("content"))]
        text = "".join(words(part.get("text")) for part in parts if part.get("type") == "output_text")
        refusal = "".join(words(part.get("refusal")) for part in parts if part.get("type") == "refusal")
        calls = tuple(
            tool_call(words(item.get("name")), item.get("arguments"), words(item.get("call_id")) or f"call_{index}")
            for index, item in enumerate(output)
            if item.get("type") == "function_call"
        )
        thoughts = [item for item in output if item.get("type") == "reasoning"]
        usage, model = _usage_of(value.get("usage")), words(value.get("model"))
        finish: Finish = "length" if reason in _CUT else "tool_calls" if calls else "stop"
        filtered = reason in _FILTERED
        if refusal or filtered:
            said = refusal or text or f"blocked: {reason}"
            return Reply(text=said, finish="refusal", filtered=filtered, usage=usage, model=model)
        if not text and not calls and finish == "stop":
            raise NoAnswer("thoughts and no answer" if thoughts else "an empty answer")
        attached = {_THOUGHTS: thoughts} if calls and thoughts else {}
        return Reply(text=text, finish=finish, tool_calls=calls, attached=attached, usage=usage, model=model)

    def usage(self, body: bytes) -> Usage:
        """Of any body."""
        return usage_in(body, _usage_of)

    def model_names(self, body: bytes) -> list[str]:
        """The ids of the list."""
        return listed_models(body)

    def _items(self, message: Message, images: Iterator[str]) -> list[dict[str, object]]:
        """The items that one turn is here: its words, then its calls with the thoughts behind them."""
        if message.role == "tool":
            return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": message.text}]
        detail = {} if self.options.image_detail is None else {"detail": self.options.image_detail}
        kind = "output_text" if message.role == "assistant" else "input_text"
        content: list[dict[str, object]] = [
            {"type": "input_image", "image_url": next(images), **detail}
            if isinstance(part, ImagePart)
            else {"type": kind, "text": part}
            for part in message.parts
        ]
        found: list[dict[str, object]] = [*message.attached.get(_THOUGHTS, ())] if message.tool_calls else []
        if content or not message.tool_calls:
            found.append({"type": "message", "role": message.role, "content": content})
        found += [
            {
                "type": "function_call",
                "call_id": call.id,
                "name": call.name,
                "arguments": call.invalid or orjson.dumps(call.arguments).decode(),
            }
            for call in message.tool_calls
        ]
        return found


def _usage_of(usage: Any) -> Usage:
    counts = mapping(usage)
    return Usage(
        input_tokens=token_count(counts.get("input_tokens")),
        output_tokens=token_count(counts.get("output_tokens")),
        cached_tokens=token_count(mapping(counts.get("input_tokens_details")).get("cached_tokens")),
    )
