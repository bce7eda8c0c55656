"""The durable client against a server that does what servers do."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millrace.errors import ItemFailed, UsageError
from millrace.llm import ImagePart, Reply, Request, Usage, user
from millrace.llm.client.batch import complete_many
from millrace.llm.client.durable_chat import DurableChat
from millrace.llm.failures import AttemptFailed, BudgetSpent, CallFailed, EndpointDown, ReplyInvalid
from millrace.llm.mock_server.http_server import HttpServer, Incoming, Outgoing
from millrace.llm.mock_server.serve import LocalServer
from millrace.llm.settings import EndpointSettings, ModelSettings, Price
from millrace.llm.store.ledger import read_ledger
from tests.llm.servers import opened, question, run, serving

EVERYTHING = {
    "500": 0.05,
    "429": 0.05,
    "reset": 0.03,
    "half": 0.02,
    "malformed": 0.03,
    "html": 0.01,
    "empty": 0.01,
    "wrong_json": 0.01,
}


async def all_of(chat: DurableChat, count: int, **changed: Any) -> dict[int, Reply | ItemFailed]:
    asked = ((number, question(number, **changed)) for number in range(count))
    return {number: reply async for number, reply in complete_many(chat, asked)}


def test_with_every_kind_of_fault_nothing_is_lost_and_nothing_is_answered_twice(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            serving(latency_ms=10, faults=EVERYTHING, retry_after_s=0.1) as (server, url),
            opened(url, tmp_path, max_in_flight=64) as chat,
        ):
            replies = await all_of(chat, 800)
            assert len(replies) == 800
            assert not [reply for reply in replies.values() if isinstance(reply, Exception)]
            said = server.statistics()
            assert (said["distinct"], said["answered_twice"]) == (800, 0)
            faults = sum(said["given"].values())
            assert faults > 100
            assert said["requests"] <= 800 + faults

    run(main())


def test_faults_that_come_back_are_survived_up_to_the_number_of_attempts() -> None:
    async def main() -> None:
        async with serving(faults={"500": 0.2}, fault_tries=3) as (_, url), opened(url, attempts=4) as chat:
            replies = await all_of(chat, 50)
            assert not [reply for reply in replies.values() if isinstance(reply, Exception)]
        async with serving(faults={"500": 0.1}, fault_tries=99) as (server, url), opened(url, attempts=3) as chat:
            replies = await all_of(chat, 100)
            failed = [reply for reply in replies.values() if isinstance(reply, CallFailed)]
            assert failed
            assert {(failure.reason, failure.status, failure.attempts) for failure in failed} == {("server", 500, 3)}
            assert server.statistics()["requests"] == 100 + 2 * len(failed)

    run(main())


def test_the_second_run_asks_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving() as (server, url):
            async with opened(url, tmp_path) as chat:
                first = await all_of(chat, 100, stage="a")
            async with opened(url, tmp_path) as chat:
                second = await all_of(chat, 100, stage="b")
                assert chat.ledger.replayed == 100
                assert not chat.ledger.rows
            assert server.counts["requests"] == 100
            assert all(second[number].replayed and second[number].attempts == 0 for number in range(100))  # type: ignore[union-attr]
            assert [first[n].text for n in range(100)] == [second[n].text for n in range(100)]  # type: ignore[union-attr]
        (row,) = read_ledger([tmp_path / "ledger"])
        assert (row.stage, row.calls, row.requests) == ("a", 100, 100)

    run(main())


def test_with_the_cache_off_everything_is_asked_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving() as (server, url):
            for _ in range(2):
                async with opened(url, tmp_path, cache="off") as chat:
                    await all_of(chat, 10)
            assert server.counts["requests"] == 20

    run(main())


def test_a_shared_cache_serves_other_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path / "cache"))

    async def main() -> None:
        async with serving() as (server, url):
            for name in ("one", "two"):
                async with opened(url, tmp_path / name, cache="shared") as chat:
                    await all_of(chat, 10)
            assert server.counts["requests"] == 10
        assert sum(row.calls for row in read_ledger([tmp_path / "one" / "ledger"])) == 10
        assert not read_ledger([tmp_path / "two" / "ledger"])

    run(main())


def test_the_same_question_asked_at_once_is_paid_once_and_another_sample_is_not_the_same() -> None:
    async def main() -> None:
        async with serving(latency_ms=30) as (server, url), opened(url) as chat:
            replies = await asyncio.gather(*(chat.complete(question(1)) for _ in range(10)))
            assert server.counts["requests"] == 1
            assert sum(not reply.replayed for reply in replies) == 1
            await asyncio.gather(*(chat.complete(question(1, sample=number)) for number in range(1, 4)))
            assert server.counts["requests"] == 4

    run(main())


def test_a_failure_shared_by_several_askers_is_told_to_each() -> None:
    async def main() -> None:
        async with serving(latency_ms=30, faults={"redirect": 1.0}) as (_, url), opened(url) as chat:
            told = await asyncio.gather(*(chat.complete(question(1)) for _ in range(3)), return_exceptions=True)
            assert [type(one) for one in told] == [CallFailed] * 3

    run(main())


def test_a_refused_request_is_never_repeated_and_the_others_go_on() -> None:
    async def picky(incoming: Incoming) -> Outgoing:
        if b"question 3" in incoming.body:
            return Outgoing(400, b'{"error":{"message":"prompt too long"}}')
        return Outgoing(200, b'{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}]}')

    async def main() -> None:
        server = HttpServer(picky)
        async with opened(await server.start()) as chat:
            replies = await all_of(chat, 10)
            failure = replies[3]
            assert isinstance(failure, CallFailed)
            assert (failure.reason, failure.status, failure.attempts) == ("rejected", 400, 1)
            assert "prompt too long" in failure.detail
            assert sum(isinstance(reply, Reply) for reply in replies.values()) == 9
        await server.stop()

    run(main())


def test_when_the_first_requests_are_all_refused_alike_the_run_ends_instead_of_failing_everything() -> None:
    async def main() -> None:
        asked = 0

        async def never(incoming: Incoming) -> Outgoing:
            nonlocal asked
            asked += 1
            return Outgoing(422, b'{"detail":"no such field"}')

        server = HttpServer(never)
        async with opened(await server.start(), max_in_flight=4) as chat:
            with pytest.raises(EndpointDown, match="all refused alike"):
                await all_of(chat, 1000)
            assert asked <= 20
        await server.stop()

    run(main())


def test_a_revoked_key_ends_the_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-wrong-0123456789abcdef")

    async def main() -> None:
        async with (
            serving(key="sk-right-0123456789abcdef") as (_, url),
            opened(url, key_env="SOME_KEY", max_in_flight=4) as chat,
        ):
            with pytest.raises(EndpointDown, match="401"):
                await all_of(chat, 100)

    run(main())


def test_an_account_that_stays_empty_ends_the_run() -> None:
    async def broke(incoming: Incoming) -> Outgoing:
        return Outgoing(429, b'{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}')

    async def main() -> None:
        server = HttpServer(broke)
        async with opened(await server.start(), give_up_after_s=6.0) as chat:
            with pytest.raises(EndpointDown, match=r"account is empty.*quota"):
                await chat.complete(question())
        await server.stop()

    run(main())


def test_a_server_that_goes_away_and_comes_back_loses_nothing_and_costs_no_attempt(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(latency_ms=20) as (server, url):
            port = int(url.rsplit(":", 1)[1].split("/")[0])
            async with opened(url, tmp_path, max_in_flight=32, attempts=1) as chat:
                asking = asyncio.create_task(all_of(chat, 600))
                while server.counts["requests"] < 200:
                    await asyncio.sleep(0.01)
                await server.stop()
                await asyncio.sleep(1.0)
                back = LocalServer(server.model, server.misfortune.plan, port=port)
                await back.start()
                replies = await asking
                assert len(replies) == 600
                assert not [reply for reply in replies.values() if isinstance(reply, Exception)]
                await back.stop()

    run(main())


def test_an_endpoint_that_stays_away_ends_the_run() -> None:
    async def main() -> None:
        async with serving() as (server, url):
            await server.stop()
            async with opened(url, give_up_after_s=0.5) as chat:
                with pytest.raises(EndpointDown, match="no answer from"):
                    await all_of(chat, 100)

    run(main())


def test_of_two_endpoints_one_may_die() -> None:
    async def main() -> None:
        async with serving(latency_ms=10) as (first, one), serving(latency_ms=10) as (second, two):
            async with opened((one, two), max_in_flight=8) as chat:
                asking = asyncio.create_task(all_of(chat, 400))
                while first.counts["requests"] < 50:
                    await asyncio.sleep(0.01)
                await first.stop()
                replies = await asking
            assert len(replies) == 400
            assert not [reply for reply in replies.values() if isinstance(reply, Exception)]
            assert second.counts["requests"] > 200

    run(main())


def test_a_hidden_cap_is_found_and_nothing_is_lost() -> None:
    async def main() -> None:
        async with (
            serving(latency_ms=50, max_in_flight=16, retry_after_s=0.2) as (server, url),
            opened(url, max_in_flight=64) as chat,
        ):
            replies = await all_of(chat, 800)
            assert not [reply for reply in replies.values() if isinstance(reply, Exception)]
            assert server.statistics()["requests"] <= 1.35 * 800
            assert 8 <= chat.pool.endpoints[0].limit.limit <= 28

    run(main())


def test_a_spending_limit_stops_cleanly_and_a_re_run_goes_on_from_there(tmp_path: Path) -> None:
    price = Price(input_usd=0.0, output_usd=1000.0)  # a token of an answer costs a tenth of a cent

    def script(request: Request) -> Reply:
        return Reply(text="x", usage=Usage(input_tokens=5, output_tokens=10))

    async def main() -> None:
        async with serving(script, latency_ms=5) as (server, url):
            for limit, most in ((0.5, 50), (0.5, 50), (1.0, 100)):
                async with opened(url, tmp_path, max_in_flight=4, price=price, max_cost_usd=limit) as chat:
                    with pytest.raises(BudgetSpent, match="max_cost_usd"):
                        await all_of(chat, 1000)
                assert most - 5 <= server.counts["requests"] <= most + 4
            rows = read_ledger([tmp_path / "ledger"])
            assert sum(row.calls for row in rows) == server.counts["requests"], (
                "a call under way when the budget was spent is kept"
            )
        assert sum(row.cost_usd for row in rows) == pytest.approx(1.0, abs=0.05)

    run(main())


def test_a_spending_limit_needs_a_price() -> None:
    settings = ModelSettings(model="unheard-of", endpoints=(EndpointSettings(base_url="http://x/v1"),), max_cost_usd=1.0)
    from millrace.llm.open_chat import open_chat

    with pytest.raises(UsageError, match="price"):
        open_chat(settings, None)


def test_a_wrong_image_is_that_requests_failure_and_is_not_sent() -> None:
    async def main() -> None:
        async with serving() as (server, url), opened(url) as chat:
            with pytest.raises(CallFailed, match="not_an_image"):
                await chat.complete(Request(messages=(user("what is it?", ImagePart(data=b"nothing")),)))
            assert server.counts["requests"] == 0

    run(main())


def test_a_rate_limit_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving() as (server, url), opened(url, tmp_path, requests_per_minute=1200) as chat:
            await all_of(chat, 60)
            arrivals = list(server.arrivals)
            assert 60 / (arrivals[-1] - arrivals[0]) <= 20 * 1.15

    run(main())


def test_a_used_up_quota_in_a_good_answer_makes_the_client_pause() -> None:
    times: list[float] = []

    async def polite(incoming: Incoming) -> Outgoing:
        times.append(asyncio.get_running_loop().time())
        left = "0" if len(times) == 3 else "5"
        headers = (("x-ratelimit-remaining-requests", left), ("x-ratelimit-reset-requests", "400ms"))
        return Outgoing(200, b'{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}]}', headers)

    async def main() -> None:
        server = HttpServer(polite)
        async with opened(await server.start(), max_in_flight=1) as chat:
            await all_of(chat, 6)
        await server.stop()

    run(main())
    assert times[3] - times[2] >= 0.35


def test_leaving_the_loop_early_leaves_nothing_running() -> None:
    async def main() -> None:
        async with serving(latency_ms=20) as (_, url), opened(url) as chat:
            async for _ in complete_many(chat, ((number, question(number)) for number in range(10_000))):
                break
            async with asyncio.timeout(10):  # on a busy machine taking back 32 requests may take longer than a moment
                while chat.pool.in_flight:
                    await asyncio.sleep(0.01)

    run(main())


def test_the_source_of_requests_is_read_as_answers_come() -> None:
    async def main() -> None:
        read = 0

        def source() -> Any:
            nonlocal read
            for number in range(10_000):
                read += 1
                yield number, question(number)

        async with serving(latency_ms=5) as (_, url), opened(url, max_in_flight=8) as chat:
            taken = 0
            async for _ in complete_many(chat, source()):
                taken += 1
                if taken == 100:
                    break
            assert read <= 100 + 3 * chat.parallelism

    run(main())


def test_a_failing_source_of_requests_is_raised() -> None:
    def source() -> Any:
        yield 1, question(1)
        raise ZeroDivisionError

    async def main() -> None:
        async with serving() as (_, url), opened(url) as chat:
            with pytest.raises(ZeroDivisionError):
                async for _ in complete_many(chat, source()):
                    pass

    run(main())


@pytest.mark.parametrize(
    "error",
    [
        CallFailed("server", "x", 500, 3),
        ReplyInvalid("no_json", "x", "text"),
        EndpointDown("x"),
        BudgetSpent("x"),
        AttemptFailed("overload", "x", status=429, retry_after_s=2.0, fatal=True),
    ],
)
def test_errors_survive_pickling(error: Exception) -> None:
    import pickle

    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert vars(back) == vars(error)
    assert str(back) == str(error)


KEY = "sk-live-DO-NOT-SHOW-0123456789abcdefghij"


def test_a_key_is_in_no_log_no_file_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Against a server that repeats the key in everything it says."""
    monkeypatch.setenv("LIVE_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    said: list[str] = []

    async def parrot(incoming: Incoming) -> Outgoing:
        sent = incoming.headers.get("authorization", "")
        assert sent == f"Bearer {KEY}"
        if b"question 0" in incoming.body:
            return Outgoing(200, b'{"choices":[{"message":{"content":"fine"},"finish_reason":"stop"}]}')
        shown = f"{sent} and {KEY[:12]}...{KEY[-8:]}"
        if b"question 1" in incoming.body:
            return Outgoing(302, b"", (("location", f"http://other.invalid/?key={KEY}"),))
        if b"question 2" in incoming.body:
            return Outgoing(200, f"<html><title>{shown}</title></html>".encode())
        if b"question 3" in incoming.body:
            return Outgoing(500, shown.encode())
        return Outgoing(401, msgspec.json.encode({"error": {"message": f"Incorrect API key provided: {shown}"}}))

    async def main() -> None:
        server = HttpServer(parrot)
        url = await server.start()
        async with opened(url, tmp_path, key_env="LIVE_KEY", attempts=2) as chat:
            said.append(repr(chat.settings))
            said.append(repr(vars(chat.pool.endpoints[0].model)))
            for number in range(5):
                try:
                    said.append(str(await chat.complete(question(number))))
                except Exception as error:
                    said.extend((repr(error), str(error), repr(error.__cause__)))
        await server.stop()

    run(main())
    assert any("[key]" in text for text in said)
    said.append(caplog.text)
    said += [path.read_bytes().decode("utf-8", "replace") for path in tmp_path.rglob("*") if path.is_file()]
    for text in said:
        for part in (KEY, KEY[:12], KEY[-8:]):
            assert part not in text
