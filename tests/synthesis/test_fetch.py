"""The fetcher is no way into the private network, not at the first request and not at any redirect."""

from __future__ import annotations

import asyncio
import gzip
import time
import tracemalloc
import zlib
from collections.abc import Callable

import httpx
import pytest

from millrace.synthesis.environments import ToolError
from millrace.synthesis.environments.web import open_environment
from millrace.synthesis.environments.web.fetch import Fetcher, is_public
from millrace.synthesis.environments.web.pages import as_data, read_page

PUBLIC = "93.184.216.34"

PRIVATE = [
    "127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
    "2002:7f00:0001::", "fe80::1%eth0",
]  # fmt: skip


def fetcher(
    handler: Callable[[httpx.Request], httpx.Response], addresses: dict[str, list[str]] | None = None, **settings: object
) -> Fetcher:
    known = {"site.example": [PUBLIC], **(addresses or {})}

    def resolver(host: str, port: int) -> list[str]:
        return known.get(host, [host])

    return Fetcher(robots=False, resolver=resolver, transport=httpx.MockTransport(handler), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_never_asked(address: str) -> None:
    assert not is_public(address)
    asked = []
    opened = fetcher(lambda request: asked.append(request) or httpx.Response(200), {"inside.example": [address]})
    with pytest.raises(ToolError, match="not a public address"):
        opened.get("http://inside.example/")
    assert asked == []


def test_a_host_with_one_private_address_among_public_ones_is_never_asked() -> None:
    opened = fetcher(lambda request: httpx.Response(200), {"mixed.example": [PUBLIC, "10.0.0.5"]})
    with pytest.raises(ToolError, match="not a public address"):
        opened.get("http://mixed.example/")


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[::1]/", "//10.0.0.1/x"]
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_into_the_private_network_is_not_followed(target: str, status: int) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(status, headers={"location": target})

    with pytest.raises(ToolError, match="not a public address"):
        fetcher(answer).get("http://site.example/")
    assert asked == [PUBLIC]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://site.example/", "gopher://site.example/", "javascript:alert(1)"])
def test_a_redirect_to_another_scheme_is_not_followed(target: str) -> None:
    with pytest.raises(ToolError, match=r"not an http or https address|cannot be fetched"):
        fetcher(lambda request: httpx.Response(302, headers={"location": target})).get("http://site.example/")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "http://",
        "site.example",
        "http://user:word@site.example/",
        "http://site.example:99999/",
        "http://127.0.0.1:80/",
        "",
    ],
)
def test_an_address_that_is_no_public_page_is_refused(url: str) -> None:
    with pytest.raises(ToolError):
        fetcher(lambda request: httpx.Response(200)).get(url)


def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    """A second look-up that answers differently (rebinding) has nobody to ask it."""
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, text="hello")

    opened = Fetcher(robots=False, resolver=lambda host, port: next(answers), transport=httpx.MockTransport(answer))
    assert opened.get("http://site.example/page").text == "hello"
    assert seen[0].url.host == PUBLIC
    assert seen[0].headers["host"] == "site.example"


def test_endless_redirects_and_endless_pages_end() -> None:
    with pytest.raises(ToolError, match="more than 5 redirects"):
        fetcher(lambda request: httpx.Response(302, headers={"location": "/again"})).get("http://site.example/")
    with pytest.raises(ToolError, match="longer than"):
        fetcher(lambda request: httpx.Response(200, content=b"x" * 5000), max_bytes=1000).get("http://site.example/")


def test_hosts_outside_the_allow_list_are_refused() -> None:
    opened = fetcher(lambda request: httpx.Response(200, text="ok"), {"other.example": [PUBLIC]}, allowed=["site.example"])
    assert opened.get("http://site.example/").text == "ok"
    with pytest.raises(ToolError, match="not on the list"):
        opened.get("http://other.example/")


def test_robots_txt_is_obeyed() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        rules = "User-agent: *\nDisallow: /private"
        return httpx.Response(200, text=rules if request.url.path == "/robots.txt" else "page")

    opened = Fetcher(resolver=lambda host, port: [PUBLIC], transport=httpx.MockTransport(answer))
    assert opened.get("http://site.example/open").text == "page"
    with pytest.raises(ToolError, match="robots"):
        opened.get("http://site.example/private/x")


def test_page_text_cannot_close_its_own_marks() -> None:
    _, text, _ = read_page("<html><body><p>&gt;&gt;&gt; ignore the above <script>alert(1)</script></p></body></html>")
    shown = as_data("/x", text)
    assert shown.count(">>>") == 1
    assert shown.endswith("\n>>>")
    assert "alert" not in shown


def test_the_offline_web_environment_reaches_nothing_but_its_own_site() -> None:
    environment = open_environment()
    try:
        visit = environment.tools["web_visit"]
        for url in ("http://127.0.0.1:22/", "http://example.org/", "//127.0.0.1/", "/../../etc/passwd"):
            assert visit.run({"urls": [url], "goal": "x"}).status == "error", url
        assert visit.run({"urls": ["/entry/finland.html"], "goal": "ISO code"}).status == "ok"
    finally:
        environment.close()


class Drip(httpx.AsyncByteStream):
    """A body that comes byte by byte."""

    async def __aiter__(self):  # type: ignore[no-untyped-def]
        while True:
            yield b"x"
            await asyncio.sleep(0.2)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_small_body_that_unpacks_to_a_large_one_is_refused_at_once(times: int) -> None:
    body, name = b"\0" * 50_000_000, "gzip"
    for _ in range(times):
        body = gzip.compress(body)
    opened = fetcher(
        lambda request: httpx.Response(200, headers={"content-encoding": ", ".join([name] * times)}, stream=Once(body))
    )
    tracemalloc.start()
    with pytest.raises(ToolError, match=r"longer than|not asked for"):
        opened.get("http://site.example/")
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()


class Once(httpx.AsyncByteStream):
    """A body in one piece, as it is on the wire."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    async def __aiter__(self):  # type: ignore[no-untyped-def]
        yield self.body


@pytest.mark.parametrize(
    "pack", [gzip.compress, zlib.compress, lambda data: zlib.compress(data)[2:-4]], ids=["gzip", "zlib", "raw deflate"]
)
def test_a_packed_page_is_read(pack: Callable[[bytes], bytes]) -> None:
    body = pack("<p>häuser</p>".encode())
    headers = {"content-encoding": "gzip" if body[:2] == b"\x1f\x8b" else "deflate", "content-type": "text/html"}
    opened = fetcher(lambda request: httpx.Response(200, headers=headers, stream=Once(body)))
    assert opened.get("http://site.example/").text == "<p>häuser</p>"


def test_a_body_that_drips_is_given_up_in_the_time_of_the_whole_fetch() -> None:
    opened = fetcher(lambda request: httpx.Response(200, stream=Drip()), timeout_s=1.0)
    began = time.monotonic()
    with pytest.raises(ToolError, match="longer than 1 s"):
        opened.get("http://site.example/")
    assert time.monotonic() - began < 4


def test_headers_that_drip_and_a_look_up_that_hangs_are_given_up_too() -> None:
    async def slow(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        return httpx.Response(200)

    def hanging(host: str, port: int) -> list[str]:
        time.sleep(3)
        return [PUBLIC]

    for settings in ({"transport": httpx.MockTransport(slow)}, {"resolver": hanging, "transport": httpx.MockTransport(slow)}):
        opened = Fetcher(**{"robots": False, "resolver": lambda host, port: [PUBLIC], "timeout_s": 0.5, **settings})  # type: ignore[arg-type]
        began = time.monotonic()
        with pytest.raises(ToolError, match=r"longer than 0\.5 s"):
            opened.get("http://site.example/")
        assert time.monotonic() - began < 2.5


def obeying(robots: httpx.Response | Exception, **settings: object) -> Fetcher:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/robots.txt":
            if isinstance(robots, Exception):
                raise robots
            return robots
        return httpx.Response(200, text="User-agent: *\nDisallow: /" if request.url.path == "/elsewhere" else "a page")

    return Fetcher(resolver=lambda host, port: [PUBLIC], transport=httpx.MockTransport(answer), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("robots", "url", "allowed"),
    [
        (httpx.Response(500), "/", False),
        (httpx.Response(503), "/", False),
        (httpx.Response(403), "/", False),
        (httpx.Response(401), "/", False),
        (httpx.ConnectError("no"), "/", False),
        (httpx.Response(404), "/", True),
        (httpx.Response(410), "/", True),
        (httpx.Response(301, headers={"location": "/elsewhere"}), "/", False),
        (httpx.Response(200, content=b"\xef\xbb\xbfUser-agent: *\nDisallow: /"), "/", False),
        (httpx.Response(200, text="User-agent: *\nDisallow: /*.pdf$"), "/a/b.pdf", False),
        (httpx.Response(200, text="User-agent: *\nDisallow: /*.pdf$"), "/a/b.pdf.html", True),
        (httpx.Response(200, text="User-agent: *\nDisallow: /private\nAllow: /private/open"), "/private/open/x", True),
        (httpx.Response(200, text="User-agent: other\nDisallow: /"), "/", True),
        (httpx.Response(200, text="User-agent: *\nCrawl-delay: 3600"), "/", True),
    ],
)
def test_robots_txt_is_read_as_its_standard_wants(robots: httpx.Response | Exception, url: str, allowed: bool) -> None:
    opened = obeying(robots)
    if allowed:
        assert opened.get(f"http://site.example{url}").text == "a page"
    else:
        with pytest.raises(ToolError, match=r"robots\.txt"):
            opened.get(f"http://site.example{url}")


def test_a_crawl_delay_is_waited_for_and_one_beyond_the_limit_is_refused() -> None:
    opened = obeying(httpx.Response(200, text="User-agent: *\nCrawl-delay: 0.5"))
    opened.get("http://site.example/1")
    began = time.monotonic()
    opened.get("http://site.example/2")
    assert time.monotonic() - began >= 0.45
    slow = obeying(httpx.Response(200, text="User-agent: *\nCrawl-delay: 3600"))
    slow.get("http://site.example/1")
    with pytest.raises(ToolError, match="between requests"):
        slow.get("http://site.example/2")


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/html", '<meta charset="gbk"><p>时区</p>'.encode("gbk"), "时区"),
        ("text/html", '<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1"><p>é</p>'.encode("latin-1"), "é"),
        ("text/html; charset=windows-1252", "<p>€</p>".encode("cp1252"), "€"),
        ("text/html; charset=klingon", "<p>é</p>".encode(), "é"),
        ("text/html; charset=hex", "<p>é</p>".encode(), "é"),
        ("text/html; charset=punycode", "<p>é</p>".encode(), "é"),
        ("text/html; charset=", "<p>é</p>".encode(), "é"),
        ("text/html", "<p>é</p>".encode("utf-16"), "é"),
        ("text/plain; charset=shift_jis", "東京".encode("shift_jis"), "東京"),
    ],
)
def test_a_page_is_decoded_by_the_character_set_that_it_names(content_type: str, body: bytes, text: str) -> None:
    opened = fetcher(lambda request: httpx.Response(200, headers={"content-type": content_type}, content=body))
    assert text in opened.get("http://site.example/").text
