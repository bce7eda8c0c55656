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
from pydantic import ValidationError

from millrace.errors import UsageError
from millrace.llm.failures import AttemptFailed, EndpointDown
from millrace.llm.open_chat import open_chat
from millrace.llm.preflight import preflight
from millrace.llm.settings import EndpointSettings, ModelSettings
from millrace.llm.transport.connections import BulkTransport
from millrace.llm.transport.exchange import Wire, proxy_for
from tests.llm.servers import always, question, read_request, run, speaking


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


@pytest.mark.parametrize("httpx_own", [False, True])
def test_httpx_own_transport_and_ours_name_the_same_failures(httpx_own: bool) -> None:
    async def kind_of(answer: bytes | None, timeout_s: float = 5.0) -> str:
        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()

        async with speaking(always(answer) if answer is not None else hang) as url:
            wire = Wire(url, [], transport=httpx.AsyncHTTPTransport() if httpx_own else None, connect_timeout_s=1.0)
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
        trusting = Wire(url, [], transport=BulkTransport(verify=ssl.create_default_context(cafile=str(public))))
        answers = await asyncio.gather(*(trusting.post("/", [b"{}"], timeout_s=10) for _ in range(4)))
        assert [one.body for one in answers] == [b"hi"] * 4
        await trusting.close()
        wary = Wire(url, [])
        with pytest.raises(AttemptFailed, match="certificate") as caught:
            await wary.post("/", [b"{}"], timeout_s=10)
        assert caught.value.kind == "connection"
        await wary.close()
        endpoint = EndpointSettings(base_url=url)
        chat = open_chat(ModelSettings(model="m", endpoints=(endpoint,)), None)
        started = asyncio.get_running_loop().time()
        with pytest.raises(EndpointDown, match=r"certificate that is not trusted .*SSL_CERT_FILE"):
            await chat.complete(question())
        asked = open_chat(ModelSettings(model="m", endpoints=(endpoint,)), None)
        with pytest.raises(UsageError, match="certificate that is not trusted"):
            await preflight(asked, wait_s=30)
        await asked.close()
        assert asyncio.get_running_loop().time() - started < 20, "no waiting makes a certificate trusted"
        await chat.close()
        server.close()

    run(main())


def test_a_users_own_transport_is_used() -> None:
    async def main() -> None:
        mock = httpx.MockTransport(lambda request: httpx.Response(200, text=request.url.path))
        wire = Wire("http://nowhere.invalid/v1", [], transport=mock)
        assert (await wire.post("/x", [b"{}"], timeout_s=5)).body == b"/v1/x"

    run(main())


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        for spelled in (name, name.lower()):
            monkeypatch.delenv(spelled, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("variable", "value", "proxy"),
    [
        ("HTTPS_PROXY", "proxy.example:3128", "http://proxy.example:3128"),
        ("https_proxy", "http://u:p@proxy.example:3128", "http://u:p@proxy.example:3128"),
        ("ALL_PROXY", "http://proxy.example:3128", "http://proxy.example:3128"),
        ("ALL_PROXY", "socks5://127.0.0.1:1080", "socks5://127.0.0.1:1080"),
        ("all_proxy", "socks://127.0.0.1:1080", "socks5://127.0.0.1:1080"),
        ("HTTPS_PROXY", "socks5h://127.0.0.1:1080", "socks5h://127.0.0.1:1080"),
        ("HTTP_PROXY", "http://other.example:1", None),
    ],
)
def test_a_proxy_is_read_as_other_programs_read_it(
    proxies: pytest.MonkeyPatch, variable: str, value: str, proxy: str | None
) -> None:
    proxies.setenv(variable, value)
    assert proxy_for(httpx.URL("https://api.example.com/v1")) == proxy
    Wire("https://api.example.com/v1", [])
    assert proxy_for(httpx.URL("http://127.0.0.1:8000/v1")) is None
    proxies.setenv("NO_PROXY", "example.com")
    assert proxy_for(httpx.URL("https://api.example.com/v1")) is None


def test_requests_go_through_a_proxy_with_its_password_which_the_server_does_not_get(proxies: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).lower())
        if heads[-1].startswith(b"connect"):
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        await writer.drain()

    async def main() -> None:
        async with speaking(proxy) as url:
            for name in ("HTTP_PROXY", "HTTPS_PROXY"):
                proxies.setenv(name, url.replace("://", "://user:top%20secret@"))
            plain = Wire("http://models.invalid/v1", [("authorization", "Bearer key")])
            assert (await plain.post("/chat", [b"{}"], timeout_s=5)).body == b"hi"
            await plain.close()
            tls = Wire("https://models.invalid/v1", [("authorization", "Bearer key")])
            with pytest.raises(AttemptFailed, match="407") as caught:
                await tls.post("/chat", [b"{}"], timeout_s=5)
            assert (caught.value.kind, "secret" in str(caught.value)) == ("connection", False)
            await tls.close()

    run(main())
    shown = b"proxy-authorization: basic dxnlcjp0b3agc2vjcmv0"
    assert heads[0].startswith(b"post http://models.invalid/v1/chat http/1.1")
    assert shown in heads[0]
    assert heads[1].startswith(b"connect models.invalid:443")
    assert shown in heads[1]
    assert b"bearer" not in heads[1], "the server's key is nothing for the proxy"


@pytest.mark.parametrize("value", ["ftp://proxy:1", "socks4://proxy:1", "http://", "http://proxy:port", "http://[::1"])
def test_what_is_no_proxy_is_one_sentence_without_its_password(proxies: pytest.MonkeyPatch, value: str) -> None:
    proxies.setenv("HTTPS_PROXY", value.replace("://", "://user:topsecret@"))
    with pytest.raises(UsageError, match="the proxy") as caught:
        Wire("https://api.example.com/v1", [])
    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize("headers", [{"x-title": "Mühle"}, {"x-title": "a\nb"}, {"x title": "a"}, {"": "a"}, {"x-täg": "a"}])
def test_a_header_that_cannot_be_sent_is_refused_with_the_config(headers: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="header"):
        EndpointSettings(base_url="http://h/v1", headers=headers)


def test_an_api_version_is_part_of_every_request_and_a_key_is_not_taken() -> None:
    endpoint = EndpointSettings(base_url="https://r.openai.azure.com/openai/deployments/d/?api-version=2024-10-21")
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(200, text="{}")

    async def main() -> None:
        wire = Wire(endpoint.base_url, [], transport=httpx.MockTransport(answer))
        await wire.post("/chat/completions", [b"{}"], timeout_s=5)
        await wire.get("/models?pageSize=1000", timeout_s=5)
        assert wire.base_url == "https://r.openai.azure.com/openai/deployments/d"

    run(main())
    assert seen == [
        "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
        "https://r.openai.azure.com/openai/deployments/d/models?pageSize=1000&api-version=2024-10-21",
    ]
    for query in ("key=1", "api_key=1", "api-version=1&sig=2", "access_token=3"):
        with pytest.raises(ValidationError, match="api_key_env"):
            EndpointSettings(base_url=f"https://h/v1?{query}")


@pytest.mark.parametrize("url", ["http://h/v1 ", "http://hö/v1", "http://h:port/v1", "http://[::1/v1"])
def test_an_address_that_is_none_is_refused_with_the_config(url: str) -> None:
    with pytest.raises(ValidationError):
        EndpointSettings(base_url=url)


def test_a_socks_proxy_that_is_not_there_is_a_broken_connection_and_no_traceback(proxies: pytest.MonkeyPatch) -> None:
    proxies.setenv("ALL_PROXY", "socks5://127.0.0.1:9")

    async def main() -> None:
        wire = Wire("http://api.example.com/v1", [])
        with pytest.raises(AttemptFailed) as caught:
            await wire.post("/x", [b"{}"], timeout_s=5)
        assert caught.value.kind == "connection"
        await wire.close()

    run(main())
