"""Gemini's batches: the questions in one request, the answers in the batch itself.

A batch's name is its `displayName`, so that one whose submission was cut short is found again. Answers come in the order of the
questions; the key that a question was sent with is gone by where it comes back. Batches of questions in a file, which may be
larger than 20 MB, are not made.

Source: https://ai.google.dev/gemini-api/docs/batch-api, https://ai.google.dev/api/batch-api
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from millrace.llm.batches.api import AnswersLost, BatchWire, RemoteBatch
from millrace.llm.failures import AttemptFailed
from millrace.llm.transport.http_chat import HttpChat
from millrace.llm.transport.reply_parts import JsonObject, items, mapping, token_count, words
from millrace.records.batches import BatchAnswer, BatchEnd, BatchRecord

PAGES = 50
"""Of a hundred batches each: so far back a batch is looked for."""

_ENDS: dict[str, BatchEnd] = {
    "SUCCEEDED": "completed",
    "PARTIALLY_SUCCEEDED": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
}
"""By the last words of a state (`BATCH_STATE_…`, in older answers `JOB_STATE_…`)."""

_STATUS = {3: 400, 5: 404, 7: 403, 8: 429, 9: 400, 11: 400, 12: 501, 14: 503, 16: 401}
"""Codes of google.rpc and the status that an answer with them has outside of batches; others are the server's own, 500."""

_INVALID, _EXHAUSTED = 400, 429


class GeminiBatches:
    """The batches of one project."""

    most_requests = 20_000
    most_bytes = 18_000_000
    """The whole request must stay below 20 MB."""

    def __init__(self, model: HttpChat) -> None:
        self._http = BatchWire(model)
        self._path = model.dialect.path(model.name).removesuffix(":generateContent")

    def line(self, key: str, body: bytes) -> bytes:
        """One of the questions."""
        return b'{"request":%b,"metadata":{"key":"%b"}}' % (body, key.encode())

    async def find(self, record: BatchRecord, others: AbstractSet[str]) -> RemoteBatch | None:
        """By its name in the list of batches."""
        token = ""
        for _ in range(PAGES):
            page = await self._http.get(f"/batches?pageSize=100{token}")
            for one in map(mapping, items(page.get("operations"))):
                if mapping(one.get("metadata")).get("displayName") == record.name:
                    return _remote(one)
            if not page.get("nextPageToken"):
                return None
            token = f"&pageToken={page['nextPageToken']}"
        return None

    async def submit(self, record: BatchRecord, lines: Sequence[bytes]) -> RemoteBatch:
        """All questions in one request."""
        pieces = [b'{"batch":{"displayName":"%b","inputConfig":{"requests":{"requests":[' % record.name.encode()]
        for place, line in enumerate(lines):
            pieces += (b",", line) if place else (line,)
        made = _remote(await self._http.post(f"{self._path}:batchGenerateContent", [*pieces, b"]}}}}"]))
        if not made.id:
            raise AttemptFailed("malformed", f"{self._http.wire.place} made a batch and gave it no name", status=200)
        return made

    async def look(self, batch_id: str) -> RemoteBatch:
        """How it is now, with its answers."""
        return _remote(await self._http.get(f"/{batch_id}"))

    async def answers(self, batch: RemoteBatch, record: BatchRecord) -> list[BatchAnswer]:
        """By their keys, or by their places where those are not told."""
        listed: Any = mapping(batch.raw.get("response")).get("inlinedResponses")
        listed = listed if isinstance(listed, list) else items(mapping(listed).get("inlinedResponses"))
        if not listed and batch.end == "completed":
            raise AnswersLost("the batch has no answers in it any more")
        found: list[BatchAnswer] = []
        for place, one in enumerate(map(mapping, listed)):
            key = words(mapping(one.get("metadata")).get("key"))
            if not key and len(listed) == len(record.requests):
                key = record.requests[place]
            found.append(_answer(key, one))
        return found

    async def close(self) -> None:
        """Close the connections."""
        await self._http.wire.close()


def _remote(operation: JsonObject) -> RemoteBatch:
    told, error = mapping(operation.get("metadata")), mapping(operation.get("error"))
    stats = mapping(told.get("batchStats"))
    end = _ENDS.get(words(told.get("state")).partition("STATE_")[2], "")
    if error and not end:
        end = "failed"
    status = _status_of(error)
    return RemoteBatch(
        id=words(operation.get("name")),
        end="refused" if end == "failed" and status in {_INVALID, _EXHAUSTED} else end,
        done=token_count(stats.get("successfulRequestCount")) or 0,
        failed=token_count(stats.get("failedRequestCount")) or 0,
        detail=words(error.get("message"))[:300],
        raw=operation,
        passing=status == _EXHAUSTED,
    )


def _status_of(error: JsonObject) -> int:
    code = token_count(error.get("code"))
    if not error or code is None:
        return 0 if not error else 500
    return code if code >= 400 else _STATUS.get(code, 500)


def _answer(key: str, one: JsonObject) -> BatchAnswer:
    if one.get("response"):
        return BatchAnswer(key, 200, one["response"])
    error = mapping(one.get("error"))
    return BatchAnswer(key, _status_of(error), {"error": error} if error else "no response")
