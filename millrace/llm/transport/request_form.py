"""In which form one endpoint is asked: as the config says, and as the endpoint's own answers have shown that it wants it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import orjson

from millrace.llm import Reply, Request
from millrace.llm.client.strict_schema import without_limits
from millrace.llm.client.structured import parsed, says_schema, with_schema_in_words, without_system_role
from millrace.llm.failures import ReplyInvalid
from millrace.llm.settings import ModelSettings
from millrace.llm.store.abilities import KnownAbilities, schema_name
from millrace.llm.transport.exchange import Answer
from millrace.llm.transport.lessons import SIGNATURES, STATUSES, THOUGHTS, lesson_in, refuses_schema
from millrace.records.llm import Abilities, SchemaMode

WEAKER: dict[SchemaMode, SchemaMode] = {"native": "plain", "plain": "json_object", "json_object": "prompt"}
"""How a schema is said to a server that refuses it."""

MOST_FORMS = 10
"""Forms in which one request is tried: every field left out, every weaker mode."""

IGNORED = 3
"""So many answers that don't satisfy their schema, and hardly any that does, show that the server ignores schemas."""

ENOUGH = 8
"""So many answers that satisfy their schema settle that the server goes by it."""

Write = Callable[[Request, str, Sequence[str]], dict[str, object]]


class RequestForm:
    """How requests to one endpoint are written.

    Args:
        write: a request, the mode for its schema and its images' URLs as a body.
        settings: of the model.
        known: what has been found out about the endpoint.
        never_sent: fields of a request that the API does not have.
    """

    def __init__(
        self, write: Write, settings: ModelSettings, known: KnownAbilities, *, never_sent: frozenset[str] = frozenset()
    ) -> None:
        self.settings = settings
        self.known = known
        self._write = write
        self._never_sent = never_sent
        self._by_schema = self._not_by_schema = 0
        """Answers that satisfied the schema they were asked with natively, and those that did not."""

    def mode(self, request: Request) -> SchemaMode:
        """How a schema reaches the server: see `ModelSettings.structured`; `plain` is its own mode without limits on values."""
        chosen = self.settings.structured
        if request.schema is None or chosen != "auto":
            return "native" if chosen == "auto" else chosen
        known = self.known.now
        return "prompt" if known.ignores_schemas else known.schema_modes.get(schema_name(request.schema), "native")

    def learn(self, answer: Answer, sent: set[str], request: Request, mode: SchemaMode, before: Abilities) -> bool:
        """Take what a refusal says about the form of requests; whether the request would now be another."""
        if answer.status not in STATUSES:
            return False  # an overloaded or broken server: it says nothing about the form, and is to be asked after a wait
        self.known.refresh()
        if self.mode(request) != mode or self.known.now != before:
            return True  # another process has met this already
        lesson = lesson_in(answer, sent)
        if lesson is not None:
            self.known.learn(lesson)
            return self.known.now != before
        weaker = WEAKER.get(mode)
        if request.schema is None or weaker is None or self.settings.structured != "auto" or not refuses_schema(answer):
            return False
        if weaker == "plain" and without_limits(request.schema) == request.schema:
            weaker = WEAKER[weaker]
        name = schema_name(request.schema)

        self.known.learn(lambda known: msgspec.structs.replace(known, schema_modes={**known.schema_modes, name: weaker}))
        return True

    def note(self, request: Request, mode: SchemaMode, reply: Reply) -> None:
        """See whether the server goes by the schemas it takes; an endpoint that does not is asked in words from then on."""
        undecided = self._by_schema < ENOUGH and mode in {"native", "plain"} and self.settings.structured == "auto"
        if request.schema is None or not undecided or reply.finish != "stop" or says_schema(request):
            return
        try:
            parsed(reply, request.schema)
            self._by_schema += 1
        except ReplyInvalid:
            self._not_by_schema += 1
            self.known.refresh()
            if self._not_by_schema >= IGNORED and self._not_by_schema > 2 * self._by_schema:
                self.known.learn(_ignores_schemas)

    def stopped(self, reply: Reply, request: Request) -> Reply:
        """The reply as far as the request's stop words, where the server takes none."""
        if "stop" not in self._never_sent and not {"stop", "stop_sequences"} & set(self.known.now.left_out):
            return reply
        text = reply.text
        for word in request.stop:
            text = text.partition(word)[0]
        return reply if text == reply.text else msgspec.structs.replace(reply, text=text, finish="stop")

    def body(self, request: Request, mode: SchemaMode, images: Sequence[str]) -> tuple[bytes, set[str]]:
        """The body, and the names of its fields that the config did not ask for itself."""
        known = self.known.now
        asked = request
        if request.schema is not None and mode == "plain":
            asked = msgspec.structs.replace(request, schema=without_limits(request.schema))
        elif request.schema is not None and mode != "native":
            asked = with_schema_in_words(request)
        if known.no_system_role:
            asked = msgspec.structs.replace(asked, messages=without_system_role(asked.messages))
        body = self._write(asked, "native" if mode == "plain" else mode, images)
        for name in known.left_out:
            body.pop(name, None)
        for name in set(known.renamed) & set(body):
            body[known.renamed[name]] = body.pop(name)
        sent = set(body) | _thoughts(body, known)
        if self.settings.extra or request.extra:
            body = merged(merged(body, self.settings.extra), request.extra)
        return orjson.dumps(body), sent


def _thoughts(body: dict[str, Any], known: Abilities) -> set[str]:
    """See to the thoughts in earlier turns as the endpoint wants them; the names of their fields that are sent."""
    sent: set[str] = set()
    messages: Any = body.get("messages") or ()
    for message in messages:
        calls = message.get("tool_calls") or ()
        for part in (message, *calls):
            for name in known.left_out:
                part.pop(name, None)
        if calls and known.wants_thoughts and THOUGHTS[0] not in known.left_out:
            message.setdefault(THOUGHTS[0], "")
        sent |= set(THOUGHTS) & set(message) | {name for call in calls for name in SIGNATURES if name in call}
    return sent


def merged(body: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """`body` with the fields of `extra`, objects within objects merged and anything else replaced."""
    whole = dict(body)
    for name, value in extra.items():
        there = whole.get(name)
        whole[name] = merged(there, value) if isinstance(there, dict) and isinstance(value, Mapping) else value
    return whole


def _ignores_schemas(known: Abilities) -> Abilities:
    return msgspec.structs.replace(known, ignores_schemas=True)
