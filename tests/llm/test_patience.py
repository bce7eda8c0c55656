"""What can pass with time is waited for; an account is empty only where nothing says when to come back and it lasts."""

from __future__ import annotations

import time
from typing import Any

import httpx
import orjson
import pytest

from millrace.llm import Reply
from millrace.llm.client.batch import complete_many
from millrace.llm.failures import EndpointDown
from millrace.llm.mock_server.http_server import HttpServer, Incoming, Outgoing
from millrace.llm.transport.exchange import Answer
from millrace.llm.transport.refusals import failure_of
from tests.llm.servers import opened, question, run

GEMINI_WORDS = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, head to: "
    "https://ai.google.dev/gemini-api/docs/rate-limits."
)
RETRY_INFO = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.3s"}]


def body(message: str, **more: Any) -> bytes:
    return orjson.dumps({"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED", **more}})


TOLD: dict[str, tuple[bytes, tuple[tuple[str, str], ...], float | None]] = {
    "RetryInfo": (body(GEMINI_WORDS, details=RETRY_INFO), (), 0.3),
    "in its words": (body(GEMINI_WORDS + " Please retry in 0.3s."), (), 0.3),
    "a header": (body(GEMINI_WORDS), (("retry-after", "0.3"),), 0.3),
    "the limit's reset": (body(GEMINI_WORDS), (("x-ratelimit-reset-requests", "300ms"),), 0.3),
    "OpenAI's words": (body("Rate limit reached for gpt-5. Please try again in 300ms."), (), 0.3),
    "minutes": (body("Rate limit reached. Please try again in 6m0.5s."), (), 360.5),
    "nothing": (body(GEMINI_WORDS), (), None),
    "DashScope": (body("You exceeded your current quota, please check", code="insufficient_quota"), (), None),
}


@pytest.mark.parametrize("name", sorted(TOLD))
def test_the_wait_is_read_wherever_it_stands_and_no_429_is_final_at_once(name: str) -> None:
    said, headers, wait_s = TOLD[name]
    failure = failure_of(Answer(429, httpx.Headers(headers), said), "http://x", None)
    assert (failure.kind, failure.retry_after_s, failure.fatal) == ("overload", wait_s, False)
    assert failure.account_empty == (wait_s is None)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (402, {"error": {"message": "Insufficient credits"}}),
        (402, {"detail": "Payment Required"}),
        (403, {"error": {"code": "1113", "message": "Insufficient balance"}}),
        (400, {"type": "error", "error": {"message": "Your credit balance is too low to access the API."}}),
        (400, {"code": "Arrearage", "message": "Access denied, please make sure your account is in good standing."}),
        (429, {"error": {"code": "1113", "message": "Please recharge."}}),
    ],
)
def test_whatever_status_says_so_an_account_is_empty_only_where_nothing_says_when_to_come_back(status: int, said: Any) -> None:
    failure = failure_of(Answer(status, httpx.Headers(), orjson.dumps(said)), "http://x", None)
    assert (failure.kind, failure.fatal, failure.account_empty) == ("overload", False, True)
    later = failure_of(Answer(status, httpx.Headers({"retry-after": "3"}), orjson.dumps(said)), "http://x", None)
    assert (later.kind, later.retry_after_s, later.account_empty) == ("overload", 3.0, False)


def test_a_403_that_means_a_limit_is_waited_for_and_one_that_means_the_key_is_not() -> None:
    limit = {"error": {"code": 403, "message": "slow down", "errors": [{"reason": "rateLimitExceeded"}]}}
    assert failure_of(Answer(403, httpx.Headers(), orjson.dumps(limit)), "http://x", None).kind == "overload"
    key = {"error": {"code": 403, "message": "this key may not use the model"}}
    assert failure_of(Answer(403, httpx.Headers(), orjson.dumps(key)), "http://x", None).kind == "credentials"


@pytest.mark.parametrize("name", ["x-ratelimit-reset", "ratelimit-reset"])
def test_a_reset_is_read_as_seconds_or_as_a_moment(name: str) -> None:
    for told in ("12", f"{time.time() + 12:.0f}", f"{(time.time() + 12) * 1000:.0f}", "12s"):
        wait_s = failure_of(Answer(429, httpx.Headers({name: told}), b"{}"), "http://x", None).retry_after_s
        assert wait_s == pytest.approx(12, abs=1)


@pytest.mark.parametrize("name", ["RetryInfo", "in its words", "a header", "nothing", "DashScope"])
def test_a_quota_per_minute_ends_no_run(name: str) -> None:
    said, headers, _ = TOLD[name]
    started = time.monotonic()

    async def handle(incoming: Incoming) -> Outgoing:
        if 0.2 < time.monotonic() - started < 1.2:
            return Outgoing(429, said, headers)
        return Outgoing(200, b'{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}]}')

    async def main() -> list[Any]:
        server = HttpServer(handle)
        async with opened(await server.start(), max_in_flight=8) as chat:
            told = []
            async for _, reply in complete_many(chat, ((number, question(number)) for number in range(60))):
                told.append(reply)
                if len(told) == 20:  # into the middle of the refusals
                    while time.monotonic() - started < 0.3:
                        time.sleep(0.01)
        await server.stop()
        return told

    replies = run(main())
    assert len(replies) == 60
    assert all(isinstance(reply, Reply) for reply in replies)


def test_a_limit_that_keeps_saying_when_to_come_back_is_never_an_empty_account() -> None:
    async def handle(incoming: Incoming) -> Outgoing:
        return Outgoing(429, body(GEMINI_WORDS, details=RETRY_INFO))

    async def main() -> None:
        server = HttpServer(handle)
        async with opened(await server.start(), give_up_after_s=1.5) as chat:
            with pytest.raises(EndpointDown) as caught:
                await chat.complete(question())
            assert "account is empty" not in str(caught.value)
        await server.stop()

    run(main())
