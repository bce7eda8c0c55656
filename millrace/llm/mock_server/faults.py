"""What a rehearsal server does wrong, on purpose and reproducibly."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import Counter

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator

from millrace.config import Settings
from millrace.errors import did_you_mean
from millrace.llm.mock_server.http_server import Outgoing

FAULTS = {
    "500": "an internal error",
    "503": "overloaded, without saying how long",
    "429": "too many requests, with Retry-After",
    "reset": "the connection breaks before an answer",
    "half": "the connection breaks in the middle of the answer",
    "malformed": "status 200 and JSON that breaks off",
    "wrong_json": "status 200 and JSON that is no chat reply",
    "empty": "status 200 and no choice",
    "html": "status 200 and a web page",
    "refusal": "the model refuses",
    "filter": "a content filter refuses the question (400)",
    "cut": "the answer breaks off before there is anything of it",
    "error": "status 200 and an answer that the server broke off",
    "huge": "a 10 MB answer",
    "redirect": "a redirect to another host",
    "slow": "the answer takes `slow_s` longer",
    "hang": "no answer at all",
}
"""Name → what happens."""


BATCH_FAULTS = {
    "submit_429": "too many requests when a batch is handed in",
    "submit_lost": "a batch is taken, and the connection breaks before that is said",
    "refused": "a batch is refused as a whole after it was taken",
    "too_much": "a batch is refused because too much is under way",
    "expired": "a batch expires when half of it is answered",
    "half_failed": "the server fails on half of a batch",
    "answers_lost": "the answers of a batch are gone",
}
"""Name → what happens to a batch."""


class FaultPlan(Settings):
    """How slow and how faulty a local server is."""

    latency_ms: NonNegativeFloat = 0.0
    """How long an answer takes."""
    jitter: NonNegativeFloat = 0.0
    """Sigma of the log-normal spread around that latency; 0 is constant."""
    faults: dict[str, float] = {}
    """Fault → share of the requests that meet it, for instance `{"500": 0.05}`."""
    fault_tries: PositiveInt = 1
    """A request that meets a fault meets it this many times; then it is answered."""
    retry_after_s: NonNegativeFloat = 1.0
    """What a 429 asks to wait."""
    slow_s: NonNegativeFloat = 3.0
    """How much longer a slow answer takes."""
    max_in_flight: PositiveInt | None = None
    """More than this at once are answered by 429."""
    requests_per_second: PositiveFloat | None = None
    """More than this (a bucket of one second) are answered by 429."""
    batch_s: NonNegativeFloat = 0.0
    """How long a batch is under way."""
    batch_faults: dict[str, PositiveInt] = {}
    """Fault of batches → how often it happens, the first times that it can."""
    seed: int = Field(default=0, ge=0)
    """Decides which requests meet which fault."""

    @field_validator("faults")
    @classmethod
    def _known(cls, faults: dict[str, float]) -> dict[str, float]:
        for name, share in faults.items():
            if name not in FAULTS:
                raise ValueError(f"no fault '{name}'{did_you_mean(name, FAULTS)}")
            if not 0 <= share <= 1:
                raise ValueError(f"the share of {name} must be between 0 and 1, not {share}")
        if sum(faults.values()) > 1:
            raise ValueError("the shares of all faults together are above 1")
        return faults

    @field_validator("batch_faults")
    @classmethod
    def _known_of_batches(cls, faults: dict[str, int]) -> dict[str, int]:
        for name in faults:
            if name not in BATCH_FAULTS:
                raise ValueError(f"no fault of batches '{name}'{did_you_mean(name, BATCH_FAULTS)}")
        return faults


class Misfortune:
    """Decides what each request meets: by its content and its own number of tries, so a run can be repeated."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self.tries: Counter[bytes] = Counter()
        self._tokens = plan.requests_per_second or 0.0
        self._filled_at = 0.0

    def fault_for(self, body: bytes) -> tuple[bytes, str | None]:
        """The request's digest and the fault it meets this time (None: none)."""
        digest = hashlib.blake2b(body, digest_size=12, salt=self.plan.seed.to_bytes(8, "big")).digest()
        self.tries[digest] += 1
        if not self.plan.faults or self.tries[digest] > self.plan.fault_tries:
            return digest, None
        point = int.from_bytes(digest[:6], "big") / 2**48
        for name, share in self.plan.faults.items():
            if point < share:
                return digest, name
            point -= share
        return digest, None

    def latency_s(self, digest: bytes) -> float:
        """How long this request's answer takes."""
        if not self.plan.jitter:
            return self.plan.latency_ms / 1000
        first, second = (int.from_bytes(digest[start : start + 3], "big") + 1 for start in (6, 9))
        normal = math.sqrt(-2 * math.log(first / (2**24 + 1))) * math.cos(2 * math.pi * second / 2**24)
        return self.plan.latency_ms / 1000 * math.exp(self.plan.jitter * normal)

    def refuses(self, in_flight: int) -> bool:
        """Whether the server has too much to do for one more request."""
        if self.plan.max_in_flight is not None and in_flight >= self.plan.max_in_flight:
            return True
        rate = self.plan.requests_per_second
        if rate is None:
            return False
        now = asyncio.get_running_loop().time()
        self._tokens = min(rate, self._tokens + (now - self._filled_at) * rate)
        self._filled_at = now
        if self._tokens < 1:
            return True
        self._tokens -= 1
        return False

    def overload(self) -> Outgoing:
        """429 with Retry-After."""
        wait = f"{self.plan.retry_after_s:g}"
        return Outgoing(429, b'{"error":{"message":"too many requests","type":"rate_limit"}}', (("retry-after", wait),))

    def instead(self, fault: str, answer: bytes) -> Outgoing:
        """What is sent instead of `answer`."""
        table: dict[str, Outgoing] = {
            "500": Outgoing(500, b'{"error":{"message":"internal error","type":"server_error"}}'),
            "503": Outgoing(503, b'{"error":{"message":"overloaded","type":"server_error"}}'),
            "429": self.overload(),
            "reset": Outgoing(200, b"", cut=0),
            "half": Outgoing(200, answer, cut=max(1, len(answer) // 2)),
            "malformed": Outgoing(200, answer[: max(1, len(answer) // 2)]),
            "wrong_json": Outgoing(200, b'{"answer":[1,2,3]}'),
            "empty": Outgoing(200, b'{"id":"x","object":"chat.completion","choices":[]}'),
            "filter": Outgoing(400, b'{"error":{"message":"The prompt was filtered","code":"content_filter"}}'),
            "error": Outgoing(200, b'{"choices":[{"index":0,"message":{"content":"I"},"finish_reason":"error"}]}'),
            "html": Outgoing(200, b"<!doctype html><html><title>Welcome</title></html>", content_type="text/html"),
            "redirect": Outgoing(302, b"", (("location", "http://elsewhere.invalid/v1/chat/completions"),)),
        }
        return table[fault]
