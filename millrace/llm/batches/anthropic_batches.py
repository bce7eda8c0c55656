"""Anthropic's message batches: the questions in one request, the answers in one file.

These batches carry no name of their client's. One whose submission was cut short is looked for among those that were made since,
with as many questions, and that no other batch of the run is known to be; its answers show whether it was that one.

Covers: a submission that was cut short. Does not cover: a run folder that is lost with a batch under way.

Source: https://docs.anthropic.com/en/api/creating-message-batches
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from millrace.llm.batches.api import AnswersLost, BatchWire, RemoteBatch, json_lines
from millrace.llm.failures import AttemptFailed
from millrace.llm.transport.http_chat import HttpChat
from millrace.llm.transport.reply_parts import JsonObject, items, mapping, token_count, words
from millrace.records.batches import BatchAnswer, BatchRecord

PATH = "/messages/batches"

PAGES = 50
"""Of a hundred batches each: so far back a batch is looked for."""

CLOCKS_S = 120.0
"""How far the provider's clock may be behind this machine's."""

_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that an answer with this error has outside of batches; others are the server's own, 500."""


class AnthropicBatches:
    """The batches of one workspace."""

    most_requests = 100_000
    most_bytes = 250_000_000

    def __init__(self, model: HttpChat) -> None:
        self._http = BatchWire(model)

    def line(self, key: str, body: bytes) -> bytes:
        """One of the questions."""
        return b'{"custom_id":"%b","params":%b}' % (key.encode(), body)

    async def find(self, record: BatchRecord, others: AbstractSet[str]) -> RemoteBatch | None:
        """By its time and its number of questions, where it may have been handed in."""
        if record.status == "planned" or record.submitted_at is None:
            return None
        since, after = record.submitted_at - CLOCKS_S, ""
        for _ in range(PAGES):
            page = await self._http.get(f"{PATH}?limit=100{after}")
            listed = [mapping(one) for one in items(page.get("data"))]
            for one in listed:
                if _made_at(one) < since:
                    return None
                if words(one.get("id")) not in others and _questions(one) == len(record.requests):
                    return _remote(one)
            if not page.get("has_more") or not listed:
                return None
            after = f"&after_id={listed[-1].get('id')}"
        return None

    async def submit(self, record: BatchRecord, lines: Sequence[bytes]) -> RemoteBatch:
        """All questions in one request."""
        pieces = [b'{"requests":[']
        for place, line in enumerate(lines):
            pieces += (b",", line) if place else (line,)
        made = _remote(await self._http.post(PATH, [*pieces, b"]}"]))
        if not made.id:
            raise AttemptFailed("malformed", f"{self._http.wire.place} made a batch and gave it no id", status=200)
        return made

    async def look(self, batch_id: str) -> RemoteBatch:
        """How it is now."""
        return _remote(await self._http.get(f"{PATH}/{batch_id}"))

    async def answers(self, batch: RemoteBatch, record: BatchRecord) -> list[BatchAnswer]:
        """What was answered and what was not."""
        answer = await self._http.raw(f"{PATH}/{batch.id}/results")
        if answer.status in {404, 410}:
            raise AnswersLost("its results are gone")
        if answer.status != 200:
            raise self._http.failure(answer)
        return [_answer(line) for line in json_lines(answer.body)]

    async def close(self) -> None:
        """Close the connections."""
        await self._http.wire.close()


def _remote(batch: JsonObject) -> RemoteBatch:
    counts = {name: token_count(count) or 0 for name, count in mapping(batch.get("request_counts")).items()}
    ended = batch.get("processing_status") == "ended"
    cut = next((end for end in ("expired", "canceled") if counts.get(end)), "")
    return RemoteBatch(
        id=words(batch.get("id")),
        end="" if not ended else "expired" if cut == "expired" else "cancelled" if cut else "completed",
        done=counts.get("succeeded", 0),
        failed=sum(counts.get(name, 0) for name in ("errored", "expired", "canceled")),
        raw=batch,
    )


def _questions(batch: JsonObject) -> int:
    return sum(token_count(count) or 0 for count in mapping(batch.get("request_counts")).values())


def _made_at(batch: JsonObject) -> float:
    """Seconds since 1970; 0 where it is not told."""
    try:
        return datetime.datetime.fromisoformat(words(batch.get("created_at"))).timestamp()
    except ValueError:
        return 0.0


def _answer(line: JsonObject) -> BatchAnswer:
    key, result = words(line.get("custom_id")), mapping(line.get("result"))
    kind = words(result.get("type"))
    if kind == "succeeded":
        return BatchAnswer(key, 200, result.get("message"))
    if kind != "errored":
        return BatchAnswer(key, 0, kind or "no result")
    error = mapping(result.get("error"))
    inner = mapping(error.get("error")) or error
    return BatchAnswer(key, _STATUS.get(words(inner.get("type")), 500), {"type": "error", "error": inner})
