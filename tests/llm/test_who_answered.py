"""Paid answers belong to whoever gave them, and to all who wait for them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from millrace.llm import Reply, Request
from millrace.llm.store.reply_journal import PaidReplies, content_key
from millrace.llm.store.segments import SegmentWriter
from tests.llm.servers import opened, question, run, serving


def saying(word: str) -> object:
    return lambda request: f"{word}: {request.messages[0].text}"


def test_two_models_of_one_name_at_two_addresses_never_take_each_others_answers(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(saying("one")) as (first, a), serving(saying("two")) as (second, b):  # type: ignore[arg-type]
            for _ in range(2):
                async with opened(a, tmp_path) as one, opened(b, tmp_path) as two:
                    for number in range(5):
                        assert (await one.complete(question(number))).text.startswith("one")
                        assert (await two.complete(question(number))).text.startswith("two")
            async with opened(b, tmp_path) as swapped:
                assert (await swapped.complete(question(1))).text.startswith("two")
            assert (first.counts["requests"], second.counts["requests"]) == (5, 5)

    run(main())


def test_paths_tell_two_models_on_one_host_apart(tmp_path: Path) -> None:
    from millrace.llm.mock_server.http_server import HttpServer, Incoming, Outgoing

    async def handle(incoming: Incoming) -> Outgoing:
        said = incoming.path.split("/")[1].encode()
        return Outgoing(200, b'{"choices":[{"message":{"content":"%b"},"finish_reason":"stop"}]}' % said)

    async def main() -> None:
        server = HttpServer(handle)
        url = await server.start()
        for _ in range(2):
            for name in ("left", "right"):
                async with opened(f"{url}/{name}", tmp_path) as chat:
                    assert (await chat.complete(question())).text == name
        await server.stop()

    run(main())


def test_a_moved_server_with_an_identity_is_paid_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving() as (first, a), serving() as (second, b):
            async with opened(a, tmp_path, identity="judge-a") as chat:
                await chat.complete(question())
            async with opened(b, tmp_path, identity="judge-a") as chat:
                assert (await chat.complete(question())).replayed
            async with opened(a, tmp_path) as chat:
                await chat.complete(question(1))
            async with opened(b, tmp_path, identity=a) as chat:  # afterwards, by the address it had
                assert (await chat.complete(question(1))).replayed
            assert (first.counts["requests"], second.counts["requests"]) == (2, 0)

    run(main())


def test_one_more_endpoint_costs_no_answer_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving() as (_, a), serving() as (second, b):
            async with opened(a, tmp_path) as chat:
                await chat.complete(question())
            async with opened((b, a), tmp_path) as chat:
                assert (await chat.complete(question())).replayed
            assert second.counts["requests"] == 0

    run(main())


def test_answers_that_an_earlier_version_paid_for_are_found_where_they_were_given(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving() as (_, a), serving() as (second, b):
            async with opened(a, tmp_path, cache="off") as chat:
                reply = await chat.complete(question(max_tokens=99))
                key = content_key(chat._where, question(max_tokens=99), ())
            journal = PaidReplies(tmp_path / "replies")
            await journal.add(key, msgspec.structs.replace(reply, text="from before"))
            journal.close()
            async with opened(a, tmp_path) as chat:
                assert (await chat.complete(question(max_tokens=99))).text == "from before"
            async with opened(b, tmp_path) as chat:
                assert (await chat.complete(question(max_tokens=99))).text != "from before"
            assert second.counts["requests"] == 1

    run(main())


@pytest.mark.parametrize("kept", [Reply(text="blocked: SAFETY", finish="refusal"), Reply(text="")])
def test_what_an_earlier_version_took_for_the_models_answer_and_was_the_servers_fault_is_asked_again(
    tmp_path: Path, kept: Reply
) -> None:
    async def main() -> None:
        async with serving() as (server, url):
            async with opened(url, tmp_path, cache="off") as chat:
                reply = await chat.complete(question())
                key = content_key(chat._where, question(), ())
            journal = PaidReplies(tmp_path / "replies")
            await journal.add(key, msgspec.structs.replace(kept, endpoint=reply.endpoint))
            journal.close()
            for _ in range(2):
                async with opened(url, tmp_path) as chat:
                    assert (await chat.complete(question())).text == reply.text
            assert server.counts["requests"] == 2, "once to know the answer, once again, and then it is kept"

    run(main())


def test_one_cancelled_waiter_stops_nobody_elses_line(tmp_path: Path) -> None:
    async def main() -> None:
        journal = PaidReplies(tmp_path)
        keys = [content_key(("p",), question(number), ()) for number in range(8)]
        waiters = [asyncio.create_task(journal.add(key, Reply(text=str(n)))) for n, key in enumerate(keys)]
        await asyncio.sleep(0)
        waiters[3].cancel()
        told = await asyncio.gather(*waiters, return_exceptions=True)
        assert [type(one) for one in told] == [type(None)] * 3 + [asyncio.CancelledError] + [type(None)] * 4
        await asyncio.sleep(0.01)
        assert [reply.text for key in keys if (reply := journal.find(key)) is not None] == [str(n) for n in range(8)]
        await journal.add(content_key(("p",), question(9), ()), Reply(text="after"))
        journal.close()

    run(main())


def test_the_writer_goes_on_after_a_cancelled_wait(tmp_path: Path) -> None:
    async def main() -> None:
        writer = SegmentWriter(tmp_path, "x")
        _, first = writer.append(b"one")
        _, second = writer.append(b"two")
        first.cancel()
        await second
        _, third = writer.append(b"three")
        await third
        writer.close()
        assert len(writer.path.read_bytes().splitlines()) == 3

    run(main())


@pytest.mark.parametrize("which", [0, 1, 2])
def test_whoever_stops_waiting_for_a_shared_answer_the_others_get_it(which: int) -> None:
    async def main() -> None:
        async with serving(latency_ms=50) as (_, url), opened(url) as chat:
            request: Request = question()
            tasks = [asyncio.create_task(chat.complete(request)) for _ in range(3)]
            await asyncio.sleep(0.02)
            tasks[which].cancel()
            told = await asyncio.gather(*tasks, return_exceptions=True)
            assert sum(isinstance(one, Reply) for one in told) == 2
            assert isinstance(told[which], asyncio.CancelledError)

    run(main())
