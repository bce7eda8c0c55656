"""Under which keys an answer is kept: who answered is part of them, and how long it might be only where it was cut off.

An answer that came to its own end is the answer for any longer limit too, so a raised `max_tokens` asks again only for what broke
off. Who answered is the endpoint's base URL, or the `identity` that the config gives the model: two models of one name at two
addresses never take each other's answers, and a server that has moved keeps its own by its identity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import msgspec

from millrace.llm import Reply, Request
from millrace.llm.store.reply_journal import PaidReplies, content_key


class AnswerKeys:
    """The keys of one request."""

    def __init__(self, where: Sequence[object], request: Request, image_names: Sequence[str]) -> None:
        self.asked = content_key(where, request, image_names)
        """Stands for what was asked, whoever answers; the key of answers paid for by versions before this one."""
        unlimited = msgspec.structs.replace(request, max_tokens=None)
        self._ended = self.asked if request.max_tokens is None else content_key(where, unlimited, image_names)

    def of(self, reply: Reply, who: str) -> bytes:
        """The key to keep `reply` under."""
        return _with(self.asked, b"cut", who) if reply.finish == "length" else _with(self._ended, b"end", who)

    def find(self, journal: PaidReplies, answerers: Sequence[str]) -> Reply | None:
        """The answer that one of `answerers` has been paid for; None when there is none."""
        for key in self._of_each(answerers):
            if (paid := journal.find(key)) is not None:
                return paid
        earlier = journal.find(self.asked)
        if earlier is None or not _still_an_answer(earlier):
            return None
        return earlier if any(_is_at(who, earlier.endpoint) for who in answerers) else None

    def _of_each(self, answerers: Sequence[str]) -> Iterator[bytes]:
        for who in answerers:
            yield _with(self._ended, b"end", who)
            yield _with(self.asked, b"cut", who)


def _with(key: bytes, end: bytes, who: str) -> bytes:
    return hashlib.blake2b(who.encode(), key=key + end, digest_size=len(key)).digest()


def _still_an_answer(earlier: Reply) -> bool:
    """Whether a reply that a version before this one kept is one by today's rules.

    Those versions did not write down whether the model or a filter of the server refused, and kept replies without a word, which
    are now asked for again: either would become the model's failure.
    """
    return earlier.finish != "refusal" and bool(earlier.text or earlier.tool_calls or earlier.finish == "length")


def _is_at(who: str, place: str) -> bool:
    """Whether the answerer `who` (a base URL, or "" for a model in this process) is at `place` (scheme, host and port)."""
    return who == place or (bool(place) and who.startswith(place + "/"))
