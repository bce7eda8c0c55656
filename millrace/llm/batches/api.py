"""What a provider's batches are here: the contract, which one file per provider in this folder fulfils."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol

import orjson

from millrace.errors import RunFailed
from millrace.llm.failures import AttemptFailed
from millrace.llm.keys import Secret
from millrace.llm.transport.exchange import JSON, Answer, Wire
from millrace.llm.transport.http_chat import HttpChat
from millrace.llm.transport.refusals import failure_of, message_in
from millrace.llm.transport.reply_parts import JsonObject, loose_json, mapping
from millrace.records.batches import BatchAnswer, BatchEnd, BatchRecord

MAX_RESULT_BYTES = 1024 * 1024 * 1024
"""Of a batch's answers: as much as the largest batch that any provider takes could hold."""

TRANSFER_TIMEOUT_S = 600.0
"""For the questions of a batch on their way there, and for its answers on their way back."""


class RemoteBatch(NamedTuple):
    """A batch as the provider sees it."""

    id: str
    end: BatchEnd = ""
    """"" while it is under way."""
    done: int = 0
    failed: int = 0
    detail: str = ""
    raw: JsonObject = {}
    """All that the provider said, for what reads the answers."""
    passing: bool = False
    """With `refused`: what stood in the way passes with time (too much is under way already)."""


class AnswersLost(Exception):
    """The provider no longer has a batch's answers."""


class BatchApi(Protocol):
    """The batches of one account. Its methods raise `AttemptFailed`, as one attempt of a chat request does."""

    most_requests: int
    """Questions that a batch may hold."""
    most_bytes: int
    """Bytes that it may hold."""

    def line(self, key: str, body: bytes) -> bytes:
        """A question in the form in which a batch holds it, without an end of line."""
        ...

    async def find(self, record: BatchRecord, others: AbstractSet[str]) -> RemoteBatch | None:
        """The batch that was submitted from `record`, where the provider has one, also from another process or attempt.
        `others` are the ids of batches that are known to be others.
        """
        ...

    async def submit(self, record: BatchRecord, lines: Sequence[bytes]) -> RemoteBatch:
        """Hand it in. Where this raises, the provider may have it nevertheless."""
        ...

    async def look(self, batch_id: str) -> RemoteBatch:
        """How it is now."""
        ...

    async def answers(self, batch: RemoteBatch, record: BatchRecord) -> list[BatchAnswer]:
        """What an ended batch holds.

        Raises:
            AnswersLost: they are gone.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class BatchWire:
    """Requests about batches to one account, with the key, the headers and the proxies of its chat requests."""

    def __init__(self, model: HttpChat) -> None:
        self.key: Secret | None = model.key
        self.wire: Wire = model.wire.with_room(MAX_RESULT_BYTES)

    async def get(self, path: str) -> JsonObject:
        """The JSON object at `path`."""
        return self.value_of(await self.wire.get(path, timeout_s=60.0))

    async def raw(self, path: str) -> Answer:
        """Whatever is at `path`."""
        return await self.wire.get(path, timeout_s=TRANSFER_TIMEOUT_S)

    async def post(self, path: str, pieces: Sequence[bytes], *, content_type: str = JSON) -> JsonObject:
        """The JSON object that answers a body."""
        return self.value_of(await self.wire.post(path, pieces, timeout_s=TRANSFER_TIMEOUT_S, content_type=content_type))

    def failure(self, answer: Answer) -> AttemptFailed:
        """The failure that an answer stands for."""
        return failure_of(answer, self.wire.place, self.key)

    def offered(self, answer: Answer, path: str) -> None:
        """Raises RunFailed where there is nothing at `path`."""
        if answer.status in {404, 405, 501}:
            said = message_in(answer, self.key)[:120]
            raise RunFailed(f"{self.wire.base_url} offers no batches ({path}: {answer.status} {said}); set mode: live")

    def value_of(self, answer: Answer) -> JsonObject:
        """The JSON object in an answer."""
        if answer.status not in {200, 201}:
            raise self.failure(answer)
        try:
            value = loose_json(answer.body)
        except ValueError as error:
            raise AttemptFailed("malformed", f"{self.wire.place} answers with no JSON ({error})", status=200) from error
        if not isinstance(value, dict):
            raise AttemptFailed("malformed", f"{self.wire.place} answers with no JSON object", status=200)
        return value


def json_lines(data: bytes) -> list[JsonObject]:
    """The JSON objects in a file of lines; a line that is none is left out, as if its question had no answer."""
    found: list[JsonObject] = []
    for line in data.splitlines():
        try:
            value = mapping(loose_json(line)) if line.strip() else {}
        except ValueError:
            continue
        if value:
            found.append(value)
    return found


def as_answer(key: str, answer: BatchAnswer) -> Answer:
    """What a batch holds, as the answer to a chat request."""
    assert answer.id == key
    return Answer(answer.status, {}, orjson.dumps(answer.body))
