"""The server's side of OpenAI's files and batches, with faults and with time that a test can move."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from millrace.llm.mock_server.faults import FaultPlan
from millrace.llm.mock_server.http_server import Incoming, Outgoing

PAGE = 20
"""Batches on a page of the list, at most: so that a list has several."""

AnswerOne = Callable[[str, bytes], Awaitable[Outgoing]]


class MockBatches:
    """Files and batches of one account.

    Args:
        plan: how long a batch is under way, and what becomes of it.
        answer: answers one request, by its path and body.
    """

    def __init__(self, plan: FaultPlan, answer: AnswerOne, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.plan = plan
        self.clock = clock
        self.made = 0
        """Batches taken."""
        self.batches: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self._answer = answer
        self._left = Counter(plan.batch_faults)
        self._fates: dict[str, str] = {}
        self._ends_at: dict[str, float] = {}

    async def handle(self, incoming: Incoming) -> Outgoing | None:
        """The answer to a request about files or batches; None where it is about something else."""
        path, _, query = incoming.path.partition("?")
        path = path.removeprefix("/v1")
        found = re.fullmatch(r"/(files|batches)(?:/([^/]+))?(/content|/cancel)?", path)
        if found is None:
            return None
        kind, name, what = found.groups()
        if kind == "files":
            return self._file(incoming, name, what)
        if incoming.method == "POST":
            return await self._made(orjson.loads(incoming.body)) if name is None else self._cancelled(name)
        return await self._shown(name) if name else self._list(query)

    def _file(self, incoming: Incoming, name: str | None, what: str | None) -> Outgoing:
        if incoming.method == "POST":
            sent = _parts(incoming)
            if sent.get("purpose") != b"batch" or "file" not in sent:
                return _error(400, "a file of purpose batch is wanted")
            name = f"file-{len(self.files)}"
            self.files[name] = sent["file"]
            return _json({"id": name, "object": "file", "bytes": len(sent["file"]), "purpose": "batch"})
        if name not in self.files:
            return _error(404, f"No such File object: {name}")
        return Outgoing(200, self.files[name]) if what else _json({"id": name, "object": "file"})

    async def _made(self, asked: dict[str, Any]) -> Outgoing:
        if self._takes("submit_429"):
            return Outgoing(429, b'{"error":{"message":"slow down"}}', (("retry-after", "0.01"),))
        if asked.get("input_file_id") not in self.files or asked.get("completion_window") != "24h":
            return _error(400, "input_file_id and completion_window: 24h are wanted")
        name = f"batch_{self.made}"
        self.made += 1
        lines = [orjson.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "status": "in_progress",
            "metadata": asked.get("metadata"),
            "input_file_id": asked["input_file_id"],
            "endpoint": asked.get("endpoint"),
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
            "output_file_id": None,
            "error_file_id": None,
            "errors": None,
        }
        self._ends_at[name] = self.clock() + self.plan.batch_s
        fates = ("refused", "too_much", "expired", "half_failed", "answers_lost")
        self._fates[name] = next((fate for fate in fates if self._takes(fate)), "")
        if self._takes("submit_lost"):
            return Outgoing(200, b"", cut=0)
        return _json(self.batches[name])

    def _takes(self, fault: str) -> bool:
        """Whether `fault` happens now; it then happens once less."""
        if self._left[fault] < 1:
            return False
        self._left[fault] -= 1
        return True

    async def _shown(self, name: str) -> Outgoing:
        batch = self.batches.get(name)
        if batch is None:
            return _error(404, f"No batch found with id '{name}'")
        if batch["status"] == "in_progress" and self.clock() >= self._ends_at[name]:
            await self._end(name, batch)
        return _json(batch)

    def _list(self, query: str) -> Outgoing:
        after = re.search(r"after=([^&]+)", query)
        names = list(reversed(self.batches))
        if after is not None:
            names = names[names.index(after[1]) + 1 :]
        page = [self.batches[name] for name in names[:PAGE]]
        return _json({"object": "list", "data": page, "has_more": len(names) > PAGE})

    def _cancelled(self, name: str) -> Outgoing:
        self._fates[name], self._ends_at[name] = "cancelled", self.clock()
        return _json(self.batches[name])

    async def _end(self, name: str, batch: dict[str, Any]) -> None:
        fate = self._fates[name]
        if fate in {"refused", "too_much"}:
            told = {"code": "invalid_json_line", "message": "the batch is not valid"}
            if fate == "too_much":
                told = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
            batch |= {"status": "failed", "errors": {"object": "list", "data": [told]}}
            return
        lines = [orjson.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        answered: list[dict[str, Any]] = []
        unanswered: list[dict[str, Any]] = []
        for place, line in enumerate(lines):
            if fate in {"expired", "cancelled"} and place >= (len(lines) + 1) // 2:
                told = {"code": f"batch_{fate}", "message": f"the batch has {fate}"}
                unanswered.append({"custom_id": line["custom_id"], "response": None, "error": told})
            elif fate == "half_failed" and place % 2:
                body = {"error": {"message": "internal error", "type": "server_error"}}
                unanswered.append({"custom_id": line["custom_id"], "response": {"status_code": 500, "body": body}, "error": None})
            else:
                got = await self._answer(line["url"], orjson.dumps(line["body"]))
                response = {"status_code": got.status, "request_id": f"req_{place}", "body": orjson.loads(got.body)}
                kept = answered if got.status == 200 else unanswered
                kept.append({"id": f"r{place}", "custom_id": line["custom_id"], "response": response, "error": None})
        answered.reverse()  # answers come in any order
        for field, written in (("output_file_id", answered), ("error_file_id", unanswered)):
            if written:
                file = f"file-{len(self.files)}"
                self.files[file] = b"".join(orjson.dumps(line) + b"\n" for line in written)
                batch[field] = file
        if fate == "answers_lost":
            del self.files[batch["output_file_id"]]
        batch["status"] = fate if fate in {"expired", "cancelled"} else "completed"
        batch["request_counts"] = {"total": len(lines), "completed": len(answered), "failed": len(unanswered)}


def _parts(incoming: Incoming) -> dict[str, bytes]:
    """The fields of a form by their names."""
    edge = re.search(r"boundary=(\S+)", incoming.headers.get("content-type", ""))
    found: dict[str, bytes] = {}
    for part in incoming.body.split(b"--" + edge[1].encode()) if edge else ():
        head, _, value = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]+)"', head)
        if name:
            found[name[1].decode()] = value.removesuffix(b"\r\n")
    return found


def _json(value: dict[str, Any]) -> Outgoing:
    return Outgoing(200, orjson.dumps(value))


def _error(status: int, message: str) -> Outgoing:
    return Outgoing(status, orjson.dumps({"error": {"message": message, "type": "invalid_request_error"}}))
