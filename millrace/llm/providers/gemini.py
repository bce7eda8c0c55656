"""Google's Gemini by its own REST API: `POST /models/MODEL:generateContent`.

`base_url` is `https://generativelanguage.googleapis.com/v1beta`. Safety blocks and all reasons for stopping are mapped: a blocked
prompt or answer is a reply with `finish="refusal"`, not an error, because asking again would cost the same and say the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypedDict

import msgspec
import orjson

from millrace.config import Settings, parse_config
from millrace.llm import Finish, ImagePart, JsonSchema, Message, Reply, Request, Tool, ToolCall, Usage
from millrace.llm.batches.gemini_batches import GeminiBatches
from millrace.llm.keys import Secret, read_key
from millrace.llm.providers.openai_compatible import error_text, tool_call
from millrace.llm.settings import EndpointSettings, ModelSettings
from millrace.llm.transport.dialect_parts import in_data_url, usage_in
from millrace.llm.transport.http_chat import HttpChat, Resources
from millrace.llm.transport.reply_parts import NoAnswer, items, loose_json, mapping, token_count, words

NEEDS_ENDPOINTS = NEEDS_MODEL = OFFERS_BATCHES = True


class Options(Settings):
    """Gemini's own switches (`options:` in the model's config)."""

    thinking_budget: int | None = None
    """Tokens for thinking; 0 switches it off where the model allows that, null leaves it to the model."""
    thinking_level: Literal["minimal", "low", "medium", "high"] | None = None
    """How much Gemini 3 and later think; null leaves it to the model. Earlier ones take `thinking_budget`."""
    safety_threshold: str | None = None
    """`BLOCK_NONE`, `BLOCK_ONLY_HIGH`, … for all categories; null leaves the defaults."""


_SIGNS_CALLS = re.compile(r"gemini-([3-9]|\d\d)")
"""From Gemini 3 on a call that comes back without the signature of the thought behind it is refused."""

NO_SIGNATURE = "skip_thought_signature_validator"
"""What Google says to send for a call whose signature is not known: https://ai.google.dev/gemini-api/docs/thought-signatures."""

_CATEGORIES = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")

_FINISH: dict[str, Finish] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "refusal",
    "RECITATION": "refusal",
    "LANGUAGE": "refusal",
    "BLOCKLIST": "refusal",
    "PROHIBITED_CONTENT": "refusal",
    "SPII": "refusal",
    "IMAGE_SAFETY": "refusal",
}
"""Others (`OTHER`, `MALFORMED_FUNCTION_CALL`, …) are broken answers, to be asked for again."""


def open_model(settings: ModelSettings, endpoint: EndpointSettings, shared: Resources) -> HttpChat:
    """The model at one endpoint."""
    options = parse_config(Options, settings.options, where="options of provider gemini")
    return HttpChat(
        GeminiDialect(options, settings.model), settings, endpoint, read_key(endpoint.api_key_env, endpoint.api_key_block), shared
    )


def open_batches(model: HttpChat) -> GeminiBatches:
    """The batches of the project behind an endpoint."""
    return GeminiBatches(model)


class _FunctionCall(TypedDict):
    name: str
    args: dict[str, Any]


class _Result(TypedDict):
    name: str
    response: dict[str, str]


class _Part(TypedDict, total=False):
    """A part of a turn: a text, a picture, a call or its result; a call with its signature."""

    text: str
    inlineData: dict[str, str]
    fileData: dict[str, str]
    functionCall: _FunctionCall
    functionResponse: _Result
    thoughtSignature: str


class _Turn(TypedDict):
    """A turn of the conversation as it is sent."""

    role: str
    parts: list[_Part]


class GeminiDialect:
    """Requests and replies as `generateContent` writes them."""

    models_path = "/models?pageSize=1000"
    never_sent: frozenset[str] = frozenset()
    added_room = 0

    def __init__(self, options: Options, model: str = "") -> None:
        self.options = options
        self._signs_calls = _SIGNS_CALLS.search(model) is not None

    def headers(self, key: Secret | None) -> list[tuple[str, str]]:
        """The key goes into a header and never into the URL, where logs would show it."""
        return [("x-goog-api-key", key.reveal())] if key else []

    def path(self, model: str) -> str:
        """The model is part of the path."""
        return f"/models/{model.removeprefix('models/')}:generateContent"

    def body(self, request: Request, structured: str, images: Sequence[str]) -> dict[str, object]:
        """The body of `generateContent`."""
        source = iter(images)
        names = {call.id: call.name for message in request.messages for call in message.tool_calls}
        instruction = "\n\n".join(message.text for message in request.messages if message.role == "system")
        turns = [self._turn(message, source, names) for message in request.messages if message.role != "system"]
        body: dict[str, object] = {"contents": _merged(turns)}
        if instruction:
            body["systemInstruction"] = {"parts": [{"text": instruction}]}
        if request.tools:
            body["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in request.tools]}]
            mode = {"auto": "AUTO", "required": "ANY", "none": "NONE"}[request.tool_choice]
            body["toolConfig"] = {"functionCallingConfig": {"mode": mode}}
        if self.options.safety_threshold is not None:
            threshold = self.options.safety_threshold
            body["safetySettings"] = [{"category": f"HARM_CATEGORY_{name}", "threshold": threshold} for name in _CATEGORIES]
        if generation := self._generation(request, structured):
            body["generationConfig"] = generation
        return body

    def _generation(self, request: Request, structured: str) -> dict[str, object]:
        asked: dict[str, object] = {
            "temperature": request.temperature,
            "topP": request.top_p,
            "maxOutputTokens": request.max_tokens,
            "seed": request.seed,
            "stopSequences": list(request.stop) or None,
        }
        thinking = {"thinkingBudget": self.options.thinking_budget, "thinkingLevel": self.options.thinking_level}
        asked["thinkingConfig"] = {name: value for name, value in thinking.items() if value is not None} or None
        if request.schema is not None and structured != "prompt":
            asked["responseMimeType"] = "application/json"
            if structured == "native":
                asked["responseJsonSchema"] = request.schema
        return {name: value for name, value in asked.items() if value is not None}

    def reply(self, body: bytes) -> Reply:
        """The first candidate, or the reason why there is none."""
        value = mapping(loose_json(body))
        usage = _usage_of(mapping(value.get("usageMetadata")))
        model = words(value.get("modelVersion"))
        if value.get("error"):
            raise ValueError(f"an error in it: {error_text(value['error'])}")
        candidates = items(value.get("candidates"))
        if not candidates:
            blocked = words(mapping(value.get("promptFeedback")).get("blockReason"))
            if blocked:
                return Reply(text=f"blocked: {blocked}", finish="refusal", filtered=True, usage=usage, model=model)
            raise ValueError("no candidate in it")
        candidate = mapping(candidates[0])
        parts = [part for part in items(mapping(candidate.get("content")).get("parts")) if isinstance(part, dict)]
        text = "".join(words(part.get("text")) for part in parts if not part.get("thought"))
        calls = tuple(_call(part, index) for index, part in enumerate(parts) if part.get("functionCall"))
        reason = words(candidate.get("finishReason")) or "STOP"
        finish = _FINISH.get(reason)
        if finish is None:
            raise ValueError(f"finishReason {reason}")
        if finish == "refusal":
            said = text or f"blocked: {reason}"
            return Reply(text=said, finish="refusal", filtered=True, usage=usage, model=model)
        if not text and not calls and finish == "stop":
            thought = any(part.get("thought") for part in parts)
            raise NoAnswer("thoughts and no answer" if thought else "an empty candidate")
        return Reply(text=text, finish="tool_calls" if calls else finish, tool_calls=calls, usage=usage, model=model)

    def _turn(self, message: Message, images: Iterator[str], names: dict[str, str]) -> _Turn:
        if message.role == "tool":
            name = message.tool_name or names.get(message.tool_call_id or "", "tool")
            return {"role": "user", "parts": [{"functionResponse": {"name": name, "response": {"result": message.text}}}]}
        parts: list[_Part] = []
        for part in message.parts:
            if isinstance(part, ImagePart):
                parts.append(_image(next(images)))
            elif part:
                parts.append({"text": part})
        for place, call in enumerate(message.tool_calls):
            written: _Part = {"functionCall": {"name": call.name, "args": call.arguments}}
            signature = call.attached.get("thoughtSignature")
            if signature is None and self._signs_calls and place == 0:  # the first of a turn's calls carries it
                signature = NO_SIGNATURE
            if signature is not None:
                written["thoughtSignature"] = signature
            parts.append(written)
        return {"role": "model" if message.role == "assistant" else "user", "parts": parts or [{"text": ""}]}

    def usage(self, body: bytes) -> Usage:
        """Of any body."""
        return usage_in(body, lambda counts: _usage_of(mapping(counts)), "usageMetadata")

    def model_names(self, body: bytes) -> list[str]:
        """The names of the list, without the `models/` in front."""
        return [entry["name"].removeprefix("models/") for entry in orjson.loads(body).get("models") or []]


def _image(written: str) -> _Part:
    """From a data URL (or a plain one) to Gemini's two ways of giving an image."""
    inside = in_data_url(written)
    if inside is None:
        return {"fileData": {"fileUri": written}}
    return {"inlineData": {"mimeType": inside[0], "data": inside[1]}}


def _merged(turns: list[_Turn]) -> list[_Turn]:
    """Neighbouring turns of one role as one turn: several tool results answer one turn of several calls."""
    merged: list[_Turn] = []
    for turn in turns:
        if merged and merged[-1]["role"] == turn["role"]:
            merged[-1]["parts"] = [*merged[-1]["parts"], *turn["parts"]]
        else:
            merged.append(turn)
    return merged


def _declaration(tool: Tool) -> dict[str, str | JsonSchema]:
    return {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters}


def _call(part: dict[str, Any], index: int) -> ToolCall:
    call, signature = mapping(part["functionCall"]), part.get("thoughtSignature")
    made = tool_call(str(call.get("name") or ""), call.get("args") or {}, str(call.get("id") or f"call_{index}"))
    return made if signature is None else msgspec.structs.replace(made, attached={"thoughtSignature": signature})


def _usage_of(usage: dict[str, Any]) -> Usage:
    counted = (token_count(usage.get("candidatesTokenCount")), token_count(usage.get("thoughtsTokenCount")))
    output = None if counted == (None, None) else sum(count or 0 for count in counted)
    read = (token_count(usage.get("promptTokenCount")), token_count(usage.get("cachedContentTokenCount")))
    return Usage(input_tokens=read[0], output_tokens=output, cached_tokens=read[1])
