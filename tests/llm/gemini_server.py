"""A local fake of Gemini's REST shape: `generateContent` over a scripted model, with its own errors."""

from __future__ import annotations

import base64
import contextlib
import itertools
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson

from millrace.llm import ImagePart, Message, Reply, Request, Tool, ToolCall, user
from millrace.llm.mock_server.http_server import HttpServer, Incoming, Outgoing

KEY = "AIza-test-0123456789abcdef"

Script = Callable[[Request], Reply | str | Outgoing]


def error(code: int, status: str, message: str, details: list[Any] | None = None) -> Outgoing:
    """An error as Google's APIs write it."""
    return Outgoing(code, orjson.dumps({"error": {"code": code, "message": message, "status": status, "details": details or []}}))


def exhausted(delay: str) -> Outgoing:
    """A 429 that carries its wait in the body only."""
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    return error(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted", [info])


class GeminiServer:
    """Checks what it is sent as strictly as the real one."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.http = HttpServer(self.handle)

    async def handle(self, incoming: Incoming) -> Outgoing:
        self.paths.append(incoming.path)
        if incoming.headers.get("x-goog-api-key") != KEY:
            reason = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
            return error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", reason)
        if incoming.path.startswith("/v1beta/models?"):
            return Outgoing(200, orjson.dumps({"models": [{"name": "models/gemini-test"}, {"name": "models/gemini-other"}]}))
        found = re.fullmatch(r"/v1beta/models/([\w.-]+):generateContent", incoming.path)
        if found is None or found[1] != "gemini-test":
            return error(404, "NOT_FOUND", f"{incoming.path} is not found for API version v1beta")
        body = orjson.loads(incoming.body)
        self.bodies.append(body)
        known = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings"}
        if unknown := set(body) - known:
            return error(400, "INVALID_ARGUMENT", f"Unknown name {sorted(unknown)[0]}")
        said = self.script(request_of(body))
        if isinstance(said, Outgoing):
            return said
        return Outgoing(200, answer_of(Reply(text=said) if isinstance(said, str) else said))


def request_of(body: dict[str, Any]) -> Request:
    """The request in Gemini's words."""
    messages: list[Message] = []
    if "systemInstruction" in body:
        messages.append(Message(role="system", parts=(body["systemInstruction"]["parts"][0]["text"],)))
    roles = [turn["role"] for turn in body["contents"]]
    assert set(roles) <= {"user", "model"}
    assert all(first != second for first, second in itertools.pairwise(roles)), "turns must alternate"
    for turn in body["contents"]:
        parts: list[str | ImagePart] = []
        calls: list[ToolCall] = []
        for part in turn["parts"]:
            if "text" in part:
                parts.append(part["text"])
            elif "inlineData" in part:
                assert part["inlineData"]["mimeType"].startswith("image/")
                parts.append(ImagePart(data=base64.b64decode(part["inlineData"]["data"], validate=True)))
            elif "fileData" in part:
                parts.append(ImagePart(url=part["fileData"]["fileUri"]))
            elif "functionCall" in part:
                calls.append(ToolCall(id="", name=part["functionCall"]["name"], arguments=part["functionCall"]["args"]))
            else:
                result = part["functionResponse"]
                messages.append(Message(role="tool", parts=(result["response"]["result"],), tool_name=result["name"]))
        if parts or calls:
            role: Any = "assistant" if turn["role"] == "model" else "user"
            messages.append(Message(role=role, parts=tuple(parts), tool_calls=tuple(calls)))
    declared = [tool for entry in body.get("tools", []) for tool in entry["functionDeclarations"]]
    tools = tuple(
        Tool(name=one["name"], description=one["description"], parameters=one["parametersJsonSchema"]) for one in declared
    )
    mode = body.get("toolConfig", {}).get("functionCallingConfig", {}).get("mode", "AUTO")
    generation = body.get("generationConfig", {})
    if "responseJsonSchema" in generation:
        assert generation["responseMimeType"] == "application/json"
    return Request(
        messages=tuple(messages) or (user(""),),
        tools=tools,
        tool_choice="required" if mode == "ANY" else "auto",
        schema=generation.get("responseJsonSchema"),
        temperature=generation.get("temperature"),
        top_p=generation.get("topP"),
        max_tokens=generation.get("maxOutputTokens"),
        stop=tuple(generation.get("stopSequences", ())),
        seed=generation.get("seed"),
    )


def answer_of(reply: Reply) -> bytes:
    """A reply in Gemini's words."""
    usage = {"promptTokenCount": 11, "candidatesTokenCount": 5, "thoughtsTokenCount": 2, "totalTokenCount": 18}
    if reply.finish == "refusal":
        return orjson.dumps({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 11}})
    parts: list[dict[str, Any]] = [{"text": reply.text}] if reply.text else []
    parts += [{"functionCall": {"name": call.name, "args": call.arguments}} for call in reply.tool_calls]
    reason = {"length": "MAX_TOKENS"}.get(reply.finish, "STOP")
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": reason, "index": 0}
    return orjson.dumps({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-test-001"})


@contextlib.asynccontextmanager
async def gemini(script: Script) -> AsyncIterator[tuple[GeminiServer, str]]:
    """The fake and its base URL."""
    server = GeminiServer(script)
    url = await server.http.start()
    try:
        yield server, url + "/v1beta"
    finally:
        await server.http.stop()
