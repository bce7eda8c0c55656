"""A local fake of Gemini's REST shape: `generateContent` over a scripted model, with its own errors."""

from __future__ import annotations

import base64
import contextlib
import itertools
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson

from millrace.llm import ImagePart, Message, Reply, Request, Tool, ToolCall, user
from millrace.llm.mock_server.batch_keeping import Asked, BatchKeeping, Kept
from millrace.llm.mock_server.faults import FaultPlan
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
        self.batches = BatchKeeping(FaultPlan(), self._of_a_batch)
        self.answered: Counter[bytes] = Counter()
        """By body how often a request of a batch was answered."""

    def statistics(self) -> dict[str, int]:
        return {"answered": sum(self.answered.values()), "distinct": len(self.answered)}

    async def _of_a_batch(self, path: str, body: bytes) -> Outgoing:
        self.answered[body] += 1
        said = self.script(request_of(orjson.loads(body)))
        return (
            said if isinstance(said, Outgoing) else Outgoing(200, answer_of(Reply(text=said) if isinstance(said, str) else said))
        )

    async def _batches(self, incoming: Incoming) -> Outgoing:
        """`batchGenerateContent`, and the list of batches, which has none of their answers."""
        if incoming.method == "POST":
            if (refusal := self.batches.refusal()) is not None:
                return refusal
            batch = orjson.loads(incoming.body)["batch"]
            asked = batch["inputConfig"]["requests"]["requests"]
            requests = [Asked(one["metadata"]["key"], "", orjson.dumps(one["request"])) for one in asked]
            return self.batches.told(operation_of(self.batches.take("batches/", batch["displayName"], requests), answers=False))
        if not incoming.path.startswith("/v1beta/batches/"):
            after = re.search(r"pageToken=([^&]+)", incoming.path)
            page, more = self.batches.newest_first(after[1] if after else None)
            listed: dict[str, Any] = {"operations": [operation_of(kept, answers=False) for kept in page]}
            return Outgoing(200, orjson.dumps(listed | ({"nextPageToken": page[-1].id} if more else {})))
        kept = await self.batches.look(incoming.path.removeprefix("/v1beta/"))
        if kept is None:
            return error(404, "NOT_FOUND", "no such batch")
        return Outgoing(200, orjson.dumps(operation_of(kept, answers=True)))

    async def handle(self, incoming: Incoming) -> Outgoing:
        self.paths.append(incoming.path)
        if incoming.headers.get("x-goog-api-key") != KEY:
            reason = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
            return error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", reason)
        if incoming.path.startswith("/v1beta/models?"):
            return Outgoing(200, orjson.dumps({"models": [{"name": "models/gemini-test"}, {"name": "models/gemini-other"}]}))
        if ":batchGenerateContent" in incoming.path or incoming.path.startswith("/v1beta/batches"):
            return await self._batches(incoming)
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


def operation_of(kept: Kept, *, answers: bool) -> dict[str, Any]:
    """A batch as an operation. An expired one has no answers, and a key comes back with every other one only."""
    state = "RUNNING" if not kept.ended else {"expired": "EXPIRED", "refused": "FAILED"}.get(kept.fate, "SUCCEEDED")
    counts = {"requestCount": str(len(kept.requests)), "successfulRequestCount": str(kept.answered)}
    told = {"state": f"BATCH_STATE_{state}", "displayName": kept.label, "batchStats": counts}
    shown: dict[str, Any] = {"name": kept.id, "metadata": told, "done": kept.ended}
    if state == "FAILED":
        shown["error"] = {"code": 3, "message": "the batch is not valid"}
    if answers and state == "SUCCEEDED" and kept.fate != "answers_lost":
        listed: list[dict[str, Any]] = []
        for place, asked in enumerate(kept.requests):
            answer = kept.answers[asked.id]
            good = answer is not None and answer.status == 200
            one = {"response": orjson.loads(answer.body)} if good and answer else {"error": {"code": 13, "message": "internal"}}
            listed.append(one | ({"metadata": {"key": asked.id}} if place % 2 else {}))
        shown["response"] = {"inlinedResponses": {"inlinedResponses": listed}}
    return shown


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
