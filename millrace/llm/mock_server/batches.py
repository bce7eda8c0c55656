"""The server's side of OpenAI's files and batches."""

from __future__ import annotations

import re

import orjson

from millrace.llm.mock_server.batch_keeping import Asked, BatchKeeping, Kept
from millrace.llm.mock_server.http_server import Incoming, Outgoing
from millrace.llm.transport.reply_parts import JsonObject


class FileBatches:
    """Files and batches of one account."""

    def __init__(self, keeping: BatchKeeping) -> None:
        self.keeping = keeping
        self.files: dict[str, bytes] = {}
        self._inputs: dict[str, str] = {}
        """By batch its file of questions."""

    async def handle(self, incoming: Incoming) -> Outgoing | None:
        """The answer to a request about files or batches; None where it is about something else."""
        path, _, query = incoming.path.partition("?")
        found = re.fullmatch(r"/v1/(files|batches)(?:/([^/]+))?(/content)?", path)
        if found is None:
            return None
        kind, name, content = found.groups()
        if kind == "files":
            return self._file(incoming, name, content)
        if incoming.method == "POST":
            return self._made(orjson.loads(incoming.body))
        if name is None:
            return self._list(query)
        kept = await self.keeping.look(name)
        return _json(self.shown(kept)) if kept is not None else _error(404, f"No batch found with id '{name}'")

    def questions(self) -> list[bytes]:
        """The files of questions."""
        return [self.files[name] for name in self._inputs.values()]

    def _file(self, incoming: Incoming, name: str | None, content: str | None) -> Outgoing:
        if incoming.method == "POST":
            sent = _parts(incoming)
            if sent.get("purpose") != b"batch" or "file" not in sent:
                return _error(400, "a file of purpose batch is wanted")
            name = f"file-{len(self.files)}"
            self.files[name] = sent["file"]
            return _json({"id": name, "object": "file", "bytes": len(sent["file"]), "purpose": "batch"})
        if name not in self.files:
            return _error(404, f"No such File object: {name}")
        return Outgoing(200, self.files[name]) if content else _json({"id": name, "object": "file"})

    def _made(self, asked: JsonObject) -> Outgoing:
        if (refusal := self.keeping.refusal()) is not None:
            return refusal
        file = asked.get("input_file_id")
        if file not in self.files or asked.get("completion_window") != "24h":
            return _error(400, "input_file_id and completion_window: 24h are wanted")
        lines = [orjson.loads(line) for line in self.files[file].splitlines()]
        requests = [Asked(line["custom_id"], line["url"], orjson.dumps(line["body"])) for line in lines]
        kept = self.keeping.take("batch_", (asked.get("metadata") or {}).get("millrace", ""), requests)
        self._inputs[kept.id] = file
        return self.keeping.told(self.shown(kept))

    def _list(self, query: str) -> Outgoing:
        after = re.search(r"after=([^&]+)", query)
        page, more = self.keeping.newest_first(after[1] if after else None)
        return _json({"object": "list", "data": [self.shown(kept) for kept in page], "has_more": more})

    def shown(self, kept: Kept) -> JsonObject:
        """A batch as the API shows it."""
        shown: JsonObject = {
            "id": kept.id,
            "object": "batch",
            "status": "in_progress",
            "metadata": {"millrace": kept.label} if kept.label else None,
            "input_file_id": self._inputs.get(kept.id),
            "request_counts": {"total": len(kept.requests), "completed": kept.answered, "failed": 0},
        }
        if not kept.ended:
            return shown
        if kept.fate in {"refused", "too_much"}:
            told = {"code": "invalid_json_line", "message": "the batch is not valid"}
            if kept.fate == "too_much":
                told = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
            return shown | {"status": "failed", "errors": {"object": "list", "data": [told]}}
        answered = {key for key, answer in kept.answers.items() if answer is not None and answer.status == 200}
        for field, some in (("output_file_id", answered), ("error_file_id", set(kept.answers) - answered)):
            if some:
                name = f"{field}-{kept.id}"
                lines = [_line(key, kept.answers[key], kept.fate) for key in kept.answers if key in some]
                if kept.fate != "answers_lost":
                    self.files[name] = b"".join(orjson.dumps(line) + b"\n" for line in lines)
                shown[field] = name
        shown["request_counts"]["failed"] = len(kept.answers) - len(answered)
        return shown | {"status": kept.fate if kept.fate in {"expired", "cancelled"} else "completed"}


def _line(key: str, answer: Outgoing | None, fate: str) -> JsonObject:
    if answer is None:
        return {"custom_id": key, "response": None, "error": {"code": f"batch_{fate}", "message": f"the batch has {fate}"}}
    response = {"status_code": answer.status, "request_id": "req", "body": orjson.loads(answer.body)}
    return {"id": "r", "custom_id": key, "response": response, "error": None}


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


def _json(value: JsonObject) -> Outgoing:
    return Outgoing(200, orjson.dumps(value))


def _error(status: int, message: str) -> Outgoing:
    return Outgoing(status, orjson.dumps({"error": {"message": message, "type": "invalid_request_error"}}))
