"""Batches as every provider keeps them: taken, under way for a while, ended in one of several ways."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from millrace.llm.mock_server.faults import FaultPlan
from millrace.llm.mock_server.http_server import Outgoing
from millrace.llm.transport.reply_parts import JsonObject

PAGE = 20
"""Batches on a page of a list, at most: so that a list has several."""

AnswerOne = Callable[[str, bytes], Awaitable[Outgoing]]

FATES = ("refused", "too_much", "expired", "half_failed", "answers_lost")
"""The faults that decide how a batch ends."""

SERVER_ERROR = Outgoing(500, b'{"error":{"message":"internal error","type":"server_error"}}')


class Asked(NamedTuple):
    """One request of a batch."""

    id: str
    path: str
    body: bytes


@dataclass
class Kept:
    """One batch."""

    id: str
    number: int
    label: str
    """The name that its client gave it; "" where there is none."""
    requests: Sequence[Asked]
    made_at: float
    """Seconds since 1970."""
    ends_at: float
    """On the keeper's clock."""
    fate: str
    """The fault that it meets; "" for none, "cancelled" for one that was stopped."""
    ended: bool = False
    answers: dict[str, Outgoing | None] = field(default_factory=dict)
    """By request what it was answered, None where the batch ended before; in any order."""

    @property
    def answered(self) -> int:
        """Requests that were answered well."""
        return sum(answer is not None and answer.status == 200 for answer in self.answers.values())


class BatchKeeping:
    """All batches of an account.

    Args:
        plan: how long a batch is under way, and what becomes of it.
        answer: answers one request, by its path and body.
    """

    def __init__(self, plan: FaultPlan, answer: AnswerOne, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.plan = plan
        self.clock = clock
        self.kept: dict[str, Kept] = {}
        self.answer = answer
        self._left = Counter(plan.batch_faults)

    @property
    def made(self) -> int:
        """Batches taken."""
        return len(self.kept)

    def refill(self) -> None:
        """Begin with the faults of the plan anew."""
        self._left = Counter(self.plan.batch_faults)

    def refusal(self) -> Outgoing | None:
        """429 where a batch is not taken now."""
        if not self._takes("submit_429"):
            return None
        return Outgoing(429, b'{"error":{"message":"slow down","type":"rate_limit_error"}}', (("retry-after", "0.01"),))

    def take(self, prefix: str, label: str, requests: Sequence[Asked]) -> Kept:
        """Take a batch."""
        fate = next((fate for fate in FATES if self._takes(fate)), "")
        ends_at = self.clock() + self.plan.batch_s
        kept = Kept(f"{prefix}{self.made}", self.made, label, requests, time.time(), ends_at, fate)
        self.kept[kept.id] = kept
        return kept

    def told(self, value: JsonObject) -> Outgoing:
        """What says that a batch was taken, where the connection lasts."""
        return Outgoing(200, b"", cut=0) if self._takes("submit_lost") else Outgoing(200, orjson.dumps(value))

    async def look(self, name: str) -> Kept | None:
        """A batch as it is now; None where there is none."""
        kept = self.kept.get(name)
        if kept is not None and not kept.ended and self.clock() >= kept.ends_at:
            kept.ended = True
            if kept.fate not in {"refused", "too_much"}:
                for place in reversed(range(len(kept.requests))):
                    kept.answers[kept.requests[place].id] = await self._answered(kept, place)
        return kept

    def newest_first(self, after: str | None = None) -> tuple[list[Kept], bool]:
        """A page of the list, and whether there is another."""
        names = list(reversed(self.kept))
        if after is not None:
            names = names[names.index(after) + 1 :]
        return [self.kept[name] for name in names[:PAGE]], len(names) > PAGE

    async def _answered(self, kept: Kept, place: int) -> Outgoing | None:
        if kept.fate in {"expired", "cancelled"} and place >= (len(kept.requests) + 1) // 2:
            return None
        if kept.fate == "half_failed" and place % 2:
            return SERVER_ERROR
        return await self.answer(kept.requests[place].path, kept.requests[place].body)

    def _takes(self, fault: str) -> bool:
        """Whether `fault` happens now; it then happens once less."""
        if self._left[fault] < 1:
            return False
        self._left[fault] -= 1
        return True
