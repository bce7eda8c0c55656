"""The server's side of Anthropic's message batches, which carry no name of their client's."""

from __future__ import annotations

import datetime
import re

import orjson

from millrace.llm.mock_server.batch_keeping import Asked, BatchKeeping, Kept
from millrace.llm.mock_server.http_server import Incoming, Outgoing
from millrace.llm.transport.reply_parts import JsonObject


class MessageBatches:
    """The batches of one account."""

    def __init__(self, keeping: BatchKeeping) -> None:
        self.keeping = keeping

    async def handle(self, incoming: Incoming) -> Outgoing | None:
        """The answer to a request about batches; None where it is about something else."""
        path, _, query = incoming.path.partition("?")
        found = re.fullmatch(r"/v1/messages/batches(?:/([^/]+))?(/results)?", path)
        if found is None:
            return None
        name, results = found.groups()
        if incoming.method == "POST":
            return self._made(orjson.loads(incoming.body))
        if name is None:
            after = re.search(r"after_id=([^&]+)", query)
            page, more = self.keeping.newest_first(after[1] if after else None)
            listed = [_shown(kept) for kept in page]
            return Outgoing(
                200, orjson.dumps({"data": listed, "has_more": more, "last_id": listed[-1]["id"] if listed else None})
            )
        kept = await self.keeping.look(name)
        if kept is None or (results and (not kept.ended or kept.fate == "answers_lost")):
            return Outgoing(404, b'{"type":"error","error":{"type":"not_found_error","message":"not found"}}')
        if results:
            lines = [{"custom_id": key, "result": _result(answer, kept.fate)} for key, answer in kept.answers.items()]
            return Outgoing(200, b"".join(orjson.dumps(line) + b"\n" for line in lines))
        return Outgoing(200, orjson.dumps(_shown(kept)))

    def _made(self, asked: JsonObject) -> Outgoing:
        if (refusal := self.keeping.refusal()) is not None:
            return refusal
        names = [one["custom_id"] for one in asked["requests"]]
        if any(not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names) or len(set(names)) < len(names):
            told = {"type": "error", "error": {"type": "invalid_request_error", "message": "custom_id"}}
            return Outgoing(400, orjson.dumps(told))
        requests = [Asked(one["custom_id"], "/v1/messages", orjson.dumps(one["params"])) for one in asked["requests"]]
        return self.keeping.told(_shown(self.keeping.take("msgbatch_", "", requests)))


def _shown(kept: Kept) -> JsonObject:
    failed = sum(answer is not None and answer.status != 200 for answer in kept.answers.values())
    return {
        "id": kept.id,
        "type": "message_batch",
        "processing_status": "ended" if kept.ended else "in_progress",
        "created_at": datetime.datetime.fromtimestamp(kept.made_at, datetime.UTC).isoformat().replace("+00:00", "Z"),
        "request_counts": {
            "processing": 0 if kept.ended else len(kept.requests),
            "succeeded": kept.answered,
            "errored": failed,
            "expired": len(kept.requests) - kept.answered - failed if kept.ended else 0,
            "canceled": 0,
        },
    }


def _result(answer: Outgoing | None, fate: str) -> JsonObject:
    if answer is None:
        return {"type": "canceled" if fate == "cancelled" else "expired"}
    if answer.status == 200:
        return {"type": "succeeded", "message": orjson.loads(answer.body)}
    kind = {400: "invalid_request_error", 429: "rate_limit_error"}.get(answer.status, "api_error")
    message = orjson.loads(answer.body).get("error", {}).get("message", "")
    return {"type": "errored", "error": {"type": "error", "error": {"type": kind, "message": message}}}
