"""A chat model behind HTTP: one attempt per call. What differs between APIs is a `Dialect`; the rest is here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import httpx
import msgspec

from millrace.llm import ImagePart, Reply, Request, Usage
from millrace.llm.failures import AttemptFailed
from millrace.llm.images import EncodedImage, ImageEncoder
from millrace.llm.keys import Secret, read_headers
from millrace.llm.settings import EndpointSettings, ModelSettings
from millrace.llm.store.abilities import KnownAbilities
from millrace.llm.throttle.byte_budget import ByteBudget
from millrace.llm.transport.exchange import Answer, Wire
from millrace.llm.transport.lessons import STATUSES
from millrace.llm.transport.refusals import blocked_by_filter, failure_inside, failure_of, message_in, quota_pause
from millrace.llm.transport.reply_parts import NoAnswer
from millrace.llm.transport.request_form import MOST_FORMS, RequestForm
from millrace.records.llm import SchemaMode

_MARK = os.urandom(12).hex()
"""Stands in a body where an image will be: drawn per process, so no prompt can hold it."""


LIST_TIMEOUT_S = 10.0
"""For the list of models, which only helps a message."""


class Resources(NamedTuple):
    """What all endpoints of a process share."""

    images: ImageEncoder
    bytes_in_flight: ByteBudget
    transport: httpx.AsyncBaseTransport | None = None
    """None: chosen by the URL."""
    folder: Path | None = None
    """The run's, for what is found out about endpoints; None keeps that in memory."""


class Dialect(Protocol):
    """How one API writes a request and reads a reply."""

    def headers(self, key: Secret | None) -> list[tuple[str, str]]:
        """The header that carries the key."""
        ...

    def path(self, model: str) -> str:
        """Where chat requests go, below the base URL."""
        ...

    def body(self, request: Request, structured: str, images: Sequence[str]) -> dict[str, object]:
        """The request as JSON; `images[i]` is what to write as the i-th image's URL, `structured` the mode for a schema."""
        ...

    def reply(self, body: bytes) -> Reply:
        """The reply in a body with status 200.

        Raises:
            ValueError: it is none.
        """
        ...

    def usage(self, body: bytes) -> Usage:
        """The tokens that a body tells of, also where there is no usable reply in it."""
        ...

    def model_names(self, body: bytes) -> list[str]:
        """The models in the answer to `GET` `models_path`."""
        ...

    @property
    def models_path(self) -> str:
        """Where the server lists its models."""
        ...

    @property
    def never_sent(self) -> frozenset[str]:
        """Fields of a `Request` that the API does not have. Stop words among them are looked for in the answer."""
        ...

    @property
    def added_room(self) -> int:
        """Tokens that `body` adds to a request's `max_tokens`, for thoughts."""
        ...


class HttpChat:
    """One endpoint. `complete` makes one attempt and raises `AttemptFailed`."""

    def __init__(
        self, dialect: Dialect, settings: ModelSettings, endpoint: EndpointSettings, key: Secret | None, shared: Resources
    ):
        self.dialect = dialect
        self.settings = settings
        secret = read_headers(endpoint.secret_headers)
        self.key = (key or Secret("")).beside(secret.values()) if key is not None or secret else None
        self.shared = shared
        hidden = [(name, value.reveal()) for name, value in secret.items()]
        headers = [*endpoint.headers.items(), *hidden, *dialect.headers(key)]
        self.wire = Wire(endpoint.base_url, headers, connect_timeout_s=settings.connect_timeout_s, transport=shared.transport)
        known = KnownAbilities(shared.folder, endpoint.base_url, settings.model)
        self.form = RequestForm(dialect.body, settings, known, never_sent=dialect.never_sent)
        self.pause_s: float | None = None
        """Set by an answer that says the quota is used up for that long; the client reads and clears it."""

    @property
    def name(self) -> str:
        """The model's name."""
        return self.settings.model

    @property
    def place(self) -> str:
        """Scheme, host and port."""
        return self.wire.place

    async def complete(self, request: Request) -> Reply:
        """One attempt; a few more where the server says that it wants to be asked in another form, which is remembered.

        Raises:
            AttemptFailed: with its class.
            CallFailed: an image cannot be sent.
        """
        for _ in range(MOST_FORMS):
            mode, known = self.form.mode(request), self.form.known.now
            answer, sent = await self._exchange(request, mode)
            reply = self._answered(answer, request, mode)
            if reply is not None:
                return reply
            if not self.form.learn(answer, sent, request, mode, known):
                break
        raise failure_of(answer, self.place, self.key)

    async def written(self, request: Request) -> tuple[bytes, str]:
        """The body that the request has now, for a batch, and the digest of what is known of the endpoint's form."""
        pieces, _ = await self._pieces(request, self.form.mode(request))
        return b"".join(pieces), self.form.known.digest

    def read_later(self, answer: Answer, request: Request, form: str) -> Reply | None:
        """The reply in an answer to a body that was `written` some time ago; None where it is to be asked in another form.

        Args:
            answer: what a batch holds for it.
            request: what was asked.
            form: the digest of the form it was written in.

        Raises:
            AttemptFailed: as `complete`.
        """
        mode, known = self.form.mode(request), self.form.known.now
        reply = self._answered(answer, request, mode)
        if reply is not None:
            return reply
        _, sent = self.form.body(request, mode, [""] * sum(len(message.images) for message in request.messages))
        if answer.status in STATUSES and (self.form.known.digest != form or self.form.learn(answer, sent, request, mode, known)):
            return None
        raise failure_of(answer, self.place, self.key)

    async def models(self) -> list[str] | None:
        """The models the server lists; None if it has no list, or none for this key.

        Raises:
            AttemptFailed: no server answers, or with something that is no list.
        """
        answer = await self.wire.get(self.dialect.models_path, timeout_s=min(LIST_TIMEOUT_S, self.settings.timeout_s))
        if answer.status != 200:
            return None
        try:
            return self.dialect.model_names(answer.body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            said = message_in(answer, self.key)
            raise AttemptFailed(
                "malformed", f"{self.wire.base_url} does not answer as a chat API does but with {said}"
            ) from error

    async def close(self) -> None:
        """Close the connections."""
        await self.wire.close()

    async def _exchange(self, request: Request, mode: SchemaMode) -> tuple[Answer, set[str]]:
        timeout_s = request.timeout_s or self.settings.timeout_s
        pieces, sent = await self._pieces(request, mode)
        async with self.shared.bytes_in_flight.hold(sum(map(len, pieces))):
            return await self.wire.post(self.dialect.path(self.settings.model), pieces, timeout_s=timeout_s), sent

    async def _pieces(self, request: Request, mode: SchemaMode) -> tuple[list[bytes], set[str]]:
        parts = [part for message in request.messages for part in message.parts if isinstance(part, ImagePart)]
        if not parts:
            body, sent = self.form.body(request, mode, [])
            return [body], sent
        encoded = [await self._encoded(part) for part in parts]
        written = [image.url or f"data:{image.media_type};base64,{_MARK}{index};" for index, image in enumerate(encoded)]
        template, sent = self.form.body(request, mode, written)
        pieces: list[bytes] = []
        for index, image in enumerate(encoded):
            if image.url is None:
                before, _, template = template.partition(f"{_MARK}{index};".encode())
                pieces += (before, image.base64)
        return [*pieces, template], sent

    async def _encoded(self, part: ImagePart) -> EncodedImage:
        return await self.shared.images.encode(part, await self.shared.images.identify(part))

    def _answered(self, answer: Answer, request: Request, mode: SchemaMode) -> Reply | None:
        """The reply in an answer; None where the server refused."""
        blocked = blocked_by_filter(answer, self.key)
        if blocked is not None:  # asking again would say the same: this is the answer to this question
            name = self.settings.model
            return Reply(text=f"blocked: {blocked}", finish="refusal", filtered=True, model=name, endpoint=self.place)
        if answer.status != 200:
            return None
        self.pause_s = quota_pause(answer.headers)
        reply = self._cut_off_by_its_length(self._read(answer, request), request)
        self.form.note(request, mode, reply)
        return self.form.stopped(reply, request)

    def _read(self, answer: Answer, request: Request) -> Reply:
        try:
            reply = self._reply_in(answer, request)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, msgspec.MsgspecError) as error:
            inside = failure_inside(answer, self.place, self.key)
            if inside is not None:
                raise inside from error
            said = message_in(answer, self.key)[:120]
            raise AttemptFailed(
                "malformed",
                f"{self.place} answered 200 with no chat reply ({error}): {said}",
                status=200,
                usage=self.dialect.usage(answer.body),
            ) from error
        return msgspec.structs.replace(reply, model=reply.model or self.settings.model, endpoint=self.place)

    def _reply_in(self, answer: Answer, request: Request) -> Reply:
        try:
            return self.dialect.reply(answer.body)
        except NoAnswer:
            empty = Reply(text="", usage=self.dialect.usage(answer.body))
            if self._used_up(empty, request):
                return empty
            raise

    def _cut_off_by_its_length(self, reply: Reply, request: Request) -> Reply:
        """The reply as what broke off, where it used up all its room: some servers call that an end like any other."""
        broke_off = reply.finish == "stop" and self._used_up(reply, request)
        return msgspec.structs.replace(reply, finish="length") if broke_off else reply

    def _used_up(self, reply: Reply, request: Request) -> bool:
        room = None if request.max_tokens is None else request.max_tokens + self.dialect.added_room
        return room is not None and (reply.usage.output_tokens or 0) >= room
