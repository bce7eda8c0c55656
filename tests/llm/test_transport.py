"""The bulk transport against servers that behave and servers that do not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.llm.transport import connection_lines
from millrace.llm.transport.connections import BulkTransport, Pieces
from tests.llm.servers import Speaker, always, read_request, run, speaking

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


async def ask(via: httpx.AsyncBaseTransport, url: str, body: bytes = b"{}", *, read_s: float = 10.0) -> httpx.Response:
    headers = {"host": "x", "content-length": str(len(body))}
    timeout = {"connect": 5.0, "read": read_s, "write": 5.0, "pool": None}
    request = httpx.Request("POST", url + "/p", headers=headers, stream=Pieces([body]), extensions={"timeout": timeout})
    response = await via.handle_async_request(request)
    await response.aread()
    return response


def failing(speak: Speaker, *, read_s: float = 10.0) -> Exception:
    async def main() -> Exception:
        via = BulkTransport(max_reply_bytes=100_000)
        async with speaking(speak) as url:
            with pytest.raises(httpx.TransportError) as caught:
                await ask(via, url, read_s=read_s)
        await via.aclose()
        return caught.value

    return run(main())


def test_a_connection_is_used_again() -> None:
    async def main() -> int:
        connections = 0

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await always(OK, then_close=False)(reader, writer)

        via = BulkTransport()
        async with speaking(speak) as url:
            for _ in range(5):
                assert (await ask(via, url)).content == b"hi"
            await asyncio.gather(*(ask(via, url) for _ in range(4)))
            await asyncio.gather(*(ask(via, url) for _ in range(4)))
        await via.aclose()
        return connections

    assert run(main()) == 4


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
    ],
)
def test_every_way_to_frame_a_body_is_read(answer: bytes) -> None:
    async def main() -> bytes:
        via = BulkTransport()
        async with speaking(always(answer)) as url:
            content = (await ask(via, url)).content
        await via.aclose()
        return content

    assert run(main()) == b"hi"


def test_a_large_body_arrives_whole_and_unjoined() -> None:
    async def main() -> None:
        got: list[bytes] = []

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got.append(await read_request(reader))
            writer.write(OK)
            await writer.drain()

        pieces = [b"a" * 3_000_000, b"b" * 1_000_000, b"c"]
        via = BulkTransport()
        async with speaking(speak) as url:
            headers = {"host": "x", "content-length": str(sum(map(len, pieces)))}
            await via.handle_async_request(httpx.Request("POST", url, headers=headers, stream=Pieces(pieces)))
        await via.aclose()
        assert got[0].endswith(b"".join(pieces))

    run(main())


def test_a_refused_connection_is_a_connect_error() -> None:
    async def main() -> None:
        async with speaking(always(OK)) as url:
            pass
        via = BulkTransport()
        with pytest.raises(httpx.ConnectError):
            await ask(via, url)
        await via.aclose()

    run(main())


def test_a_name_that_does_not_exist_is_a_connect_error() -> None:
    async def main() -> None:
        with pytest.raises(httpx.ConnectError):
            await ask(BulkTransport(), "http://nobody.invalid")

    run(main())


def test_a_server_that_hangs_is_a_read_timeout() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await reader.read()

    assert isinstance(failing(hang, read_s=0.2), httpx.ReadTimeout)


def test_a_server_that_drips_is_a_read_timeout() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    assert isinstance(failing(drip, read_s=0.4), httpx.ReadTimeout)


def test_half_a_body_is_a_read_error() -> None:
    error = failing(always(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf"))
    assert isinstance(error, httpx.ReadError)
    assert "broke off" in str(error)


def test_a_reply_above_the_limit_is_refused() -> None:
    error = failing(always(b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n" + b"x" * 200_000))
    assert "larger than the limit" in str(error)


def test_endless_headers_are_refused() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"x-more: " + b"y" * 1000 + b"\r\n")
            await writer.drain()

    assert isinstance(failing(endless), httpx.TransportError)


def test_a_closed_connection_without_an_answer_is_a_read_error() -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)

    assert isinstance(failing(close), httpx.ReadError)


def test_a_connection_that_breaks_right_after_use_is_not_sent_again_silently() -> None:
    async def main() -> int:
        asked = 0

        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            for answer in (OK, None):
                await read_request(reader)
                asked += 1
                if answer is not None:
                    writer.write(answer)
                    await writer.drain()

        via = BulkTransport()
        async with speaking(once) as url:
            await ask(via, url)
            with pytest.raises(httpx.ReadError):
                await ask(via, url)
        await via.aclose()
        return asked

    assert run(main()) == 2


def test_a_connection_that_was_idle_for_long_is_replaced_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_lines, "STALE_AFTER_S", 0.0)

    async def main() -> int:
        connections = 0

        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await read_request(reader)
            writer.write(OK)
            await writer.drain()
            await read_request(reader)  # and goes away without a word, as a server whose idle timer fires now does

        via = BulkTransport()
        async with speaking(once) as url:
            assert (await ask(via, url)).content == b"hi"
            assert (await ask(via, url)).content == b"hi"
        await via.aclose()
        return connections

    assert run(main()) == 2


@pytest.mark.parametrize("beginning", [b"", b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nh"])
@pytest.mark.parametrize("reset", [False, True])
def test_only_where_no_byte_was_answered_is_a_request_sent_again_silently(
    beginning: bytes, reset: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_lines, "STALE_AFTER_S", 0.0)

    async def main() -> int:
        asked = 0

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            await read_request(reader)
            asked += 1
            writer.write(OK)
            await writer.drain()
            await read_request(reader)
            asked += 1
            writer.write(beginning)
            await writer.drain()
            if reset:
                await asyncio.sleep(0.05)  # what was written arrives before the line breaks
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

        via = BulkTransport()
        async with speaking(speak) as url:
            await ask(via, url)
            if beginning:
                with pytest.raises(httpx.ReadError):
                    await ask(via, url)
            else:
                assert (await ask(via, url)).content == b"hi"
        await via.aclose()
        return asked

    assert run(main()) == (2 if beginning else 3)


def test_the_silent_reconnect_takes_no_other_idle_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_lines, "STALE_AFTER_S", 0.0)

    async def main() -> bytes:
        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            await asyncio.sleep(0.1)
            writer.write(OK)
            await writer.drain()
            await read_request(reader)

        via = BulkTransport()
        async with speaking(once) as url:
            await asyncio.gather(*(ask(via, url) for _ in range(5)))
            content = (await ask(via, url)).content
        await via.aclose()
        return content

    assert run(main()) == b"hi", "after a restart all idle connections are dead"


def test_an_answer_that_comes_before_the_whole_body_was_sent_is_an_answer() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
        await writer.drain()
        await asyncio.sleep(0.2)

    async def main() -> httpx.Response:
        via = BulkTransport()
        async with speaking(refuse) as url:
            answer = await ask(via, url, b"x" * 30_000_000)
        await via.aclose()
        return answer

    answer = run(main())
    assert (answer.status_code, answer.content) == (413, b"no")


def test_a_torn_chunk_is_a_read_error_and_a_chunk_that_is_none_is_a_protocol_error() -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    assert isinstance(failing(always(head + b"5\r\nab")), httpx.ReadError)
    assert isinstance(failing(always(head + b"zz\r\nab\r\n0\r\n\r\n")), httpx.RemoteProtocolError)


def test_closing_ends_requests_in_flight() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def main() -> None:
        via = BulkTransport()
        async with speaking(hang) as url:
            asking = asyncio.create_task(ask(via, url))
            await asyncio.sleep(0.1)
            await via.aclose()
            with pytest.raises(httpx.ReadError):
                await asking
            with pytest.raises(httpx.ConnectError):
                await ask(via, url)

    run(main())


def test_a_cancelled_request_does_not_poison_its_connection() -> None:
    async def main() -> None:
        async def slow_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            await asyncio.sleep(0.2)
            writer.write(OK)
            await writer.drain()

        via = BulkTransport()
        async with speaking(slow_once) as url:
            asking = asyncio.create_task(ask(via, url))
            await asyncio.sleep(0.05)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            assert (await ask(via, url)).content == b"hi"
        await via.aclose()

    run(main())


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=60).map(lambda tail: b"HTTP/1.1 200 OK\r\n" + tail),
        st.binary(max_size=60).map(lambda tail: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + tail),
        st.tuples(st.integers(0, 60), st.binary(max_size=40)).map(
            lambda both: b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % both
        ),
    )
)
def test_whatever_a_server_sends_is_an_answer_or_an_httpx_error(answer: bytes) -> None:
    async def main() -> None:
        via = BulkTransport(max_reply_bytes=10_000)
        async with speaking(always(answer)) as url:
            with contextlib.suppress(httpx.TransportError):
                await ask(via, url, read_s=2.0)
        await via.aclose()

    run(main())
