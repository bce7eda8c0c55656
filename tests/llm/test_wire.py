"""One exchange: what becomes of redirects, packed answers, TLS and a wrong address."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import ipaddress
import ssl
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from millrace.llm.failures import AttemptFailed
from millrace.llm.transport.exchange import Wire
from millrace.llm.transport.https import SlotTransport
from tests.llm.servers import always, read_request, run, speaking


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async def main() -> list[bytes]:
        elsewhere: list[bytes] = []

        async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            elsewhere.append(await read_request(reader))

        async with speaking(note) as other:
            moved = f"HTTP/1.1 302 Found\r\nlocation: {other}/v1\r\ncontent-length: 0\r\n\r\n".encode()
            async with speaking(always(moved)) as url:
                wire = Wire(url, [("authorization", "Bearer secret")])
                answer = await wire.post("/chat/completions", [b"{}"], timeout_s=5)
                assert answer.status == 302
                await wire.close()
        return elsewhere

    assert run(main()) == []


def test_a_packed_answer_is_unpacked_up_to_the_limit() -> None:
    def packed(size: int) -> bytes:
        body = gzip.compress(b"x" * size)
        return b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)

    async def main() -> None:
        async with speaking(always(packed(5000))) as url:
            wire = Wire(url, [], max_reply_bytes=10_000)
            assert (await wire.get("/", timeout_s=5)).body == b"x" * 5000
            await wire.close()
        async with speaking(always(packed(5_000_000))) as url:
            wire = Wire(url, [], max_reply_bytes=10_000)
            with pytest.raises(AttemptFailed) as caught:
                await wire.get("/", timeout_s=5)
            assert caught.value.kind == "malformed"
            await wire.close()

    run(main())


@pytest.mark.parametrize("use_slots", [False, True])
def test_both_transports_name_the_same_failures(use_slots: bool) -> None:
    async def kind_of(answer: bytes | None, timeout_s: float = 5.0) -> str:
        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()

        async with speaking(always(answer) if answer is not None else hang) as url:
            wire = Wire(url, [], transport=SlotTransport() if use_slots else None, connect_timeout_s=1.0)
            try:
                await wire.post("/", [b"{}"], timeout_s=timeout_s)
            except AttemptFailed as error:
                return error.kind
            finally:
                await wire.close()
        return "answered"

    async def main() -> list[str]:
        return [
            await kind_of(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"),
            await kind_of(b"\x00\x01 no http at all\r\n\r\n"),
            await kind_of(None, timeout_s=0.3),
        ]

    assert run(main()) == ["answered", "malformed", "timeout"]


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for 127.0.0.1 and a server context that uses it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "cert.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    private.write_bytes(key.private_bytes(*form))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context


def test_https_works_with_a_trusted_certificate_and_only_with_one(tmp_path: Path) -> None:
    public, context = certificate(tmp_path)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        trusting = Wire(url, [], transport=SlotTransport(verify=ssl.create_default_context(cafile=str(public))))
        answers = await asyncio.gather(*(trusting.post("/", [b"{}"], timeout_s=10) for _ in range(4)))
        assert [one.body for one in answers] == [b"hi"] * 4
        await trusting.close()
        wary = Wire(url, [])
        with pytest.raises(AttemptFailed, match="certificate") as caught:
            await wary.post("/", [b"{}"], timeout_s=10)
        assert caught.value.kind == "connection"
        await wary.close()
        server.close()

    run(main())


def test_a_users_own_transport_is_used() -> None:
    async def main() -> None:
        mock = httpx.MockTransport(lambda request: httpx.Response(200, text=request.url.path))
        wire = Wire("http://nowhere.invalid/v1", [], transport=mock)
        assert (await wire.post("/x", [b"{}"], timeout_s=5)).body == b"/v1/x"

    run(main())
