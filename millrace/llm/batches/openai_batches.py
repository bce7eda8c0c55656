"""OpenAI's batches, as its own and compatible servers offer them: a file of questions, a batch, a file of answers.

A batch's name stands in its `metadata`, so that one whose submission was cut short is found again.

Source: https://platform.openai.com/docs/api-reference/batch, https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import orjson

from millrace.llm.batches.api import AnswersLost, BatchWire, RemoteBatch, json_lines
from millrace.llm.failures import AttemptFailed
from millrace.llm.transport.http_chat import HttpChat
from millrace.llm.transport.reply_parts import JsonObject, items, mapping, token_count, words
from millrace.records.batches import BatchAnswer, BatchEnd, BatchRecord

LABEL = "millrace"
"""The field of a batch's metadata that holds its name."""

PAGES = 50
"""Of a hundred batches each: so far back a batch is looked for."""

_ENDS: dict[str, BatchEnd] = {
    "completed": "completed",
    "expired": "expired",
    "cancelled": "cancelled",
    "failed": "refused",
}


class OpenAIBatches:
    """The batches of one account."""

    most_requests = 50_000
    most_bytes = 200_000_000

    def __init__(self, model: HttpChat, *, url: str = "/v1/chat/completions") -> None:
        self._http = BatchWire(model)
        self._url = url

    def line(self, key: str, body: bytes) -> bytes:
        """One line of the file of questions."""
        return b'{"custom_id":"%b","method":"POST","url":"%b","body":%b}' % (key.encode(), self._url.encode(), body)

    async def find(self, record: BatchRecord, others: AbstractSet[str]) -> RemoteBatch | None:
        """By its name in the list of batches."""
        after = ""
        for _ in range(PAGES):
            answer = await self._http.raw(f"/batches?limit=100{after}")
            self._http.offered(answer, "/batches")
            page = self._http.value_of(answer)
            listed = [mapping(one) for one in items(page.get("data"))]
            for one in listed:
                if mapping(one.get("metadata")).get(LABEL) == record.name:
                    return _remote(one)
            if not page.get("has_more") or not listed:
                return None
            after = f"&after={listed[-1].get('id')}"
        return None

    async def submit(self, record: BatchRecord, lines: Sequence[bytes]) -> RemoteBatch:
        """Upload the questions, then make the batch. An upload without a batch costs nothing."""
        edge = os.urandom(16).hex()
        head = (
            f'--{edge}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--{edge}\r\n'
            f'Content-Disposition: form-data; name="file"; filename="{LABEL}-{record.name}.jsonl"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        )
        pieces = [head.encode(), *(line + b"\n" for line in lines), f"\r\n--{edge}--\r\n".encode()]
        file = words((await self._http.post("/files", pieces, content_type=f"multipart/form-data; boundary={edge}")).get("id"))
        if not file:
            raise AttemptFailed("malformed", f"{self._http.wire.place} took a file and gave it no id", status=200)
        asked = {
            "input_file_id": file,
            "endpoint": self._url,
            "completion_window": "24h",
            "metadata": {LABEL: record.name},
        }
        made = _remote(await self._http.post("/batches", [orjson.dumps(asked)]))
        if not made.id:
            raise AttemptFailed("malformed", f"{self._http.wire.place} made a batch and gave it no id", status=200)
        return made

    async def look(self, batch_id: str) -> RemoteBatch:
        """How it is now."""
        return _remote(await self._http.get(f"/batches/{batch_id}"))

    async def answers(self, batch: RemoteBatch, record: BatchRecord) -> list[BatchAnswer]:
        """Both files of it: what was answered and what was not."""
        found: list[BatchAnswer] = []
        for field in ("output_file_id", "error_file_id"):
            file = words(batch.raw.get(field))
            if not file:
                continue
            answer = await self._http.raw(f"/files/{file}/content")
            if answer.status in {404, 410}:
                raise AnswersLost(f"{field} {file} is gone")
            if answer.status != 200:
                raise self._http.failure(answer)
            found += [_answer(line) for line in json_lines(answer.body)]
        return found

    async def close(self) -> None:
        """Close the connections."""
        await self._http.wire.close()


def _remote(batch: JsonObject) -> RemoteBatch:
    counts = mapping(batch.get("request_counts"))
    errors = [mapping(one) for one in items(mapping(batch.get("errors")).get("data"))]
    return RemoteBatch(
        id=words(batch.get("id")),
        end=_ENDS.get(words(batch.get("status")), ""),
        done=token_count(counts.get("completed")) or 0,
        failed=token_count(counts.get("failed")) or 0,
        detail="; ".join(dict.fromkeys(words(one.get("message")) or words(one.get("code")) for one in errors[:5]))[:300],
        raw=batch,
        passing=any("limit" in words(one.get("code")) for one in errors),
    )


def _answer(line: JsonObject) -> BatchAnswer:
    key, response = words(line.get("custom_id")), mapping(line.get("response"))
    if not response:
        return BatchAnswer(key, 0, line.get("error") or "no response")
    return BatchAnswer(key, token_count(response.get("status_code")) or 0, response.get("body"))
