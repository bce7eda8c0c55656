"""A fetch ends within its limits whatever a server does, over real sockets; one page's trouble is no other page's."""

from __future__ import annotations

import contextlib
import gzip
import multiprocessing
import re
import socket
import struct
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from millrace.synthesis.environments import ToolError, ToolUnavailable, called
from millrace.synthesis.environments.web import Options, WebEnvironment
from millrace.synthesis.environments.web.fetch import Fetcher
from millrace.synthesis.environments.web.online import web_search_service
from millrace.synthesis.environments.web.pages import read_page
from millrace.synthesis.environments.web.robots import KnownRules, Rules
from millrace.synthesis.environments.web.turns import Turns

PUBLIC = "93.184.216.34"
LIMIT_S = 0.5
"""Of a whole fetch, in these tests."""

Script = Callable[[str], Iterable[bytes]]


class Raw:
    """A server that writes, for each request, the bytes that a function of its path yields."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=(self._socket.accept()[0],), daemon=True).start()

    def _answer(self, line: socket.socket) -> None:
        with line, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and (got := line.recv(65_536)):
                head += got
            if not head:
                return
            path = head.split(b" ")[1].decode()
            self.asked.append(path)
            for piece in self.script(path):
                line.sendall(piece)

    def close(self) -> None:
        self._socket.close()


class There(httpx.AsyncBaseTransport):
    """Real sockets, new ones for each request; the public address is a port of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert request.url.host == PUBLIC
        request.url = request.url.copy_with(host="127.0.0.1", port=self.port)
        return await httpx.AsyncHTTPTransport(verify=False).handle_async_request(request)


@pytest.fixture
def fetching() -> Iterator[Callable[..., Fetcher]]:
    """Starts a server with a script, and gives a fetcher whose internet it is."""
    servers: list[Raw] = []

    def start(script: Script, **settings: object) -> Fetcher:
        servers.append(Raw(script))
        given = {"robots": False, "timeout_s": 10.0, "max_bytes": 100_000, "transport": There(servers[-1].port), **settings}
        fetcher = Fetcher(resolver=lambda host, port: [PUBLIC], **given)  # type: ignore[arg-type]
        fetcher.server = servers[-1]  # type: ignore[attr-defined]
        return fetcher

    yield start
    for server in servers:
        server.close()


def plain(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", "connection: close", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def slowly(*pieces: bytes, forever: bytes) -> Iterator[bytes]:
    yield from pieces
    while True:
        time.sleep(0.05)
        yield forever


def at_once(*pieces: bytes, forever: bytes) -> Iterator[bytes]:
    yield from pieces
    while True:
        yield forever


def later(piece: bytes) -> Iterator[bytes]:
    time.sleep(0.15)
    yield piece


def unasked(name: str) -> Script:
    return lambda path: [plain(b"\x28\xb5\x2f\xfd" * 10, f"content-encoding: {name}")]


OK = b"HTTP/1.1 200 OK\r\n"
EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"
NEVER_ENDING: dict[str, Script] = {
    "a byte of the body at a time": lambda path: slowly(OK + b"content-length: 90000\r\n\r\n", forever=b"x"),
    "a byte of the headers at a time": lambda path: slowly(OK, forever=b"x"),
    "a header at a time": lambda path: slowly(OK, forever=b"a: b\r\n"),
    "the status line at a time": lambda path: slowly(b"HTTP/1.1 ", forever=b"2"),
    "nothing at all": lambda path: slowly(forever=b""),
    "interim answers": lambda path: slowly(forever=b"HTTP/1.1 100 Continue\r\n\r\n"),
    "interim answers without a pause": lambda path: at_once(forever=b"HTTP/1.1 103 Early Hints\r\n\r\n" * 500),
    "tiny chunks": lambda path: slowly(OK + b"transfer-encoding: chunked\r\n\r\n", forever=b"1\r\nx\r\n"),
    "a chunk's length": lambda path: slowly(OK + b"transfer-encoding: chunked\r\n\r\n", forever=b"0"),
    "trailers": lambda path: slowly(OK + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", forever=b"a: b\r\n"),
    "a redirect whose body drips": lambda path: slowly(
        b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 9000\r\n\r\n", forever=b"x"
    ),
    "redirects that take their time": lambda path: slowly(*later(plain(b"", "location: /y", status="302 Found")), forever=b""),
    "an error whose body drips": lambda path: slowly(
        b"HTTP/1.1 500 Broken\r\ncontent-length: 9000\r\n\r\n", forever=b"x"
    ),
    "compressed nothing": lambda path: slowly(
        OK + b"content-encoding: gzip\r\n\r\n", b"\x1f\x8b\x08" + bytes(7), forever=EMPTY_BLOCK
    ),
}  # fmt: skip


def seconds_to_fail(work: Callable[[], object]) -> float:
    began = time.monotonic()
    with pytest.raises(ToolUnavailable):
        work()
    return time.monotonic() - began


@pytest.mark.parametrize("robots", [False, True], ids=["a page", "robots.txt"])
def test_a_fetch_ends_within_its_limit_however_an_answer_goes_on(robots: bool, fetching: Callable[..., Fetcher]) -> None:
    fetchers = [fetching(script, robots=robots, timeout_s=LIMIT_S) for script in NEVER_ENDING.values()]
    with ThreadPoolExecutor(len(fetchers)) as pool:  # all at once: each takes its limit
        seconds = list(pool.map(lambda one: seconds_to_fail(lambda: one.get("http://site.example/")), fetchers))
    assert {name for name, took in zip(NEVER_ENDING, seconds, strict=True) if took > LIMIT_S + 2} == set()


BOMB = gzip.compress(bytes(50_000_000))
TOO_MUCH: dict[str, Script] = {
    "a body without end": lambda path: at_once(OK + b"\r\n", forever=b"x" * 65_536),
    "one header without end": lambda path: at_once(OK + b"a: ", forever=b"x" * 65_536),
    "headers without end": lambda path: at_once(OK, forever=b"a: b\r\n" * 5_000),
    "a chunk's extension without end": lambda path: at_once(OK + b"transfer-encoding: chunked\r\n\r\n1;", forever=b"x" * 65_536),
    "compressed nothing without a pause": lambda path: at_once(
        OK + b"content-encoding: gzip\r\n\r\n", b"\x1f\x8b\x08" + bytes(7), forever=EMPTY_BLOCK * 5_000
    ),
    "members of nothing": lambda path: at_once(OK + b"content-encoding: gzip\r\n\r\n", forever=gzip.compress(b"") * 1_000),
    "a redirect with a body without end": lambda path: at_once(
        b"HTTP/1.1 302 Found\r\nlocation: /x\r\n\r\n", forever=b"x" * 65_536
    ),
    "gzip bomb": lambda path: [plain(BOMB, "content-encoding: gzip")],
    "x-gzip bomb": lambda path: [plain(BOMB, "content-encoding: x-gzip")],
    "deflate bomb": lambda path: [plain(zlib.compress(bytes(2_000_000)) , "content-encoding: deflate")],
    "gzip in gzip bomb": lambda path: [plain(gzip.compress(BOMB), "content-encoding: gzip, gzip")],
    "gzip twice in two headers": lambda path: [plain(gzip.compress(BOMB), "content-encoding: gzip", "content-encoding: gzip")],
    "a bomb of many members": lambda path: [plain(gzip.compress(bytes(90_000)) * 50, "content-encoding: gzip")],
    **{
        f"{name}, which was not asked for": unasked(name)
        for name in ("br", "zstd", "compress", "gzip, br", "deflate, gzip", "aes128gcm")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", TOO_MUCH)
def test_too_much_is_refused_before_it_is_in_memory(name: str, fetching: Callable[..., Fetcher]) -> None:
    fetcher = fetching(TOO_MUCH[name])
    fetching(lambda path: [plain(b"")]).get("http://site.example/")  # what httpx and its certificates take is not counted
    tracemalloc.start()
    try:
        with pytest.raises(ToolUnavailable, match=r"longer than|not asked for|cannot be fetched"):
            fetcher.get("http://site.example/")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_no_more_than_five_redirects_are_followed(fetching: Callable[..., Fetcher]) -> None:
    fetcher = fetching(lambda path: [plain(b"", f"location: {path}x", status="302 Found")])
    with pytest.raises(ToolUnavailable, match="more than 5 redirects"):
        fetcher.get("http://site.example/")
    assert len(fetcher.server.asked) == 6  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", ["301 Moved", "304 Not Modified", "305 Use Proxy"])
def test_a_redirect_to_nowhere_is_no_page(status: str, fetching: Callable[..., Fetcher]) -> None:
    with pytest.raises(ToolUnavailable, match="names no other address"):
        fetching(lambda path: [plain(b"", status=status)]).get("http://site.example/")


@pytest.mark.parametrize(
    "location", ["http://[::1", "http://site.example:x/", "http://", "http://a b/", "//", "http://\x7f/", "http://xn--/"]
)
def test_a_location_that_is_no_address_is_an_observation(location: str, fetching: Callable[..., Fetcher]) -> None:
    with pytest.raises(ToolError):
        fetching(lambda path: [plain(b"", f"location: {location}", status="302 Found")] if path == "/" else []).get(
            "http://site.example/"
        )


@pytest.mark.parametrize("url", ["http://[::1", "http://a\x00b/", "http://[v1.a]/"])
def test_an_address_that_cannot_be_read_is_an_observation(url: str, fetching: Callable[..., Fetcher]) -> None:
    with pytest.raises(ToolError):
        fetching(lambda path: [plain(b"page")]).get(url)


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("gzip", gzip.compress(b"<p>hello " * 300)),
        ("gzip", gzip.compress(b"<p>hello " * 100) + gzip.compress(b"<p>hello " * 200)),
        ("gzip", gzip.compress(b"<p>hello " * 300) + bytes(512)),
        ("deflate", zlib.compress(b"<p>hello " * 300)),
        ("deflate", zlib.compress(b"<p>hello " * 300)[2:-4]),
    ],
    ids=["gzip", "two members", "padding", "deflate", "raw deflate"],
)
def test_a_packed_page_is_read_whole_in_pieces_of_any_size(
    name: str, body: bytes, size: int, fetching: Callable[..., Fetcher]
) -> None:
    def script(path: str) -> Iterator[bytes]:
        yield plain(b"", f"content-encoding: {name}").replace(b"content-length: 0", f"content-length: {len(body)}".encode())
        for place in range(0, len(body), size):
            yield body[place : place + size]

    assert fetching(script).get("http://site.example/").text == "<p>hello " * 300


def test_a_packed_page_that_breaks_off_is_not_taken_for_a_whole_one(fetching: Callable[..., Fetcher]) -> None:
    body = gzip.compress(bytes(range(256)) * 40)[:-20]
    with pytest.raises(ToolUnavailable, match="ends in the middle"):
        fetching(lambda path: [plain(body, "content-encoding: gzip")]).get("http://site.example/")


def web(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> WebEnvironment:
    monkeypatch.setenv("SERPER_API_KEY", "key")
    return WebEnvironment(Options(search_url="http://127.0.0.1:9"), fetcher=lambda options: fetcher)


def test_a_page_that_never_ends_is_no_loss_of_the_other_pages_of_the_call(
    fetching: Callable[..., Fetcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(path: str) -> Iterable[bytes]:
        if path.startswith("/slow"):
            return slowly(OK, forever=b"x")
        if path == "/trap":
            return [plain(b"<!--" * 20_000, "content-type: text/html")]
        return [plain(b"<p>the wheel has 24 blades", "content-type: text/html; charset=klingon")]

    environment = web(fetching(script, timeout_s=1.5), monkeypatch)
    urls = [
        *(f"http://site.example/slow{number}" for number in range(7)),
        "http://site.example/trap",
        "http://[::1",
        "http://site.example/good",
    ]
    began = time.monotonic()
    seen = called(environment.tools["web_visit"], {"urls": urls, "goal": "blades"}, 100_000)
    assert time.monotonic() - began < 5, "seven slow pages take the time of one"
    environment.close()
    assert seen.status == "ok"
    assert "24 blades" in seen.text
    assert seen.text.count("took longer than 1.5 s") == 7


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        (lambda path: [plain(b"", status="404 Not Found")], "refused"),
        (lambda path: [plain(b"", status="403 Forbidden")], "refused"),
        (lambda path: [plain(b"", status="503 Busy")], "unavailable"),
        (lambda path: [plain(b"", status="429 Slow Down")], "unavailable"),
        (lambda path: [], "unavailable"),
        (lambda path: slowly(OK, forever=b"x"), "unavailable"),
        (lambda path: [plain(b"x" * 200_000)], "unavailable"),
    ],
    ids=["404", "403", "503", "429", "closed", "drips", "too long"],
)
def test_what_a_server_does_wrong_is_told_apart_from_what_the_caller_does_wrong(
    script: Script, cause: str, fetching: Callable[..., Fetcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = web(fetching(script, timeout_s=LIMIT_S if cause == "unavailable" else 10.0), monkeypatch)
    seen = called(environment.tools["web_visit"], {"urls": ["http://site.example/"], "goal": "x"}, 1_000)
    environment.close()
    assert (seen.status, seen.cause) == ("error", cause)


TRAPS = ["<!--", "<", "<a ", "<a b='", "<!a", "<![CDATA[", "<?", "</a", "</", "<a a a a a a", "<a/", "&#", "<script>", "<div>"]


@pytest.mark.parametrize("unit", TRAPS)
def test_a_page_that_opens_and_never_closes_is_read_in_time_in_proportion_to_its_length(unit: str) -> None:
    began = time.thread_time()
    read_page("<p>before</p>" + unit * (150_000 // len(unit)))
    assert time.thread_time() - began < 4


def test_a_page_that_breaks_off_near_its_end_is_read_to_its_end() -> None:
    assert read_page("<title>T</title><p>one<p>two <b>three<a href='/x'>four")[1] == "one\ntwo three[four"
    assert read_page("<p>fish & chips &amp; <")[1] == "fish & chips & <"


def robots(answer: Iterable[bytes]) -> Script:
    return lambda path: list(answer) if path == "/robots.txt" else [plain(b"a page")]


HERE = b"User-agent: *\nDisallow: /private\n"


@pytest.mark.parametrize(
    ("answer", "allowed", "forbidden"),
    [
        ([plain(HERE)], ["/open"], ["/private/x"]),
        ([plain(b"\xef\xbb\xbf" + HERE)], ["/open"], ["/private/x"]),
        ([plain(HERE.decode().encode("utf-16"))], ["/open"], ["/private/x"]),
        ([plain(HERE.decode().encode("utf-16-le"), "content-type: text/plain; charset=utf-16")], ["/open"], ["/private/x"]),
        ([plain(HERE, "content-type: text/plain; charset=klingon")], ["/open"], ["/private/x"]),
        ([plain(b"# caf\xe9 \xff\n" + HERE)], ["/open"], ["/private/x"]),
        ([plain(HERE.replace(b"\n", b"\r"))], ["/open"], ["/private/x"]),
        ([plain(gzip.compress(HERE), "content-encoding: gzip")], ["/open"], ["/private/x"]),
        ([plain(HERE + b"#" * 600_000 + b"\nDisallow: /")], ["/open"], ["/private/x"]),
        ([plain(HERE + b"Disallow: /no\n" * 60_000)], ["/open"], ["/private/x", "/no"]),
        ([plain(gzip.compress(HERE + bytes(5_000_000)), "content-encoding: gzip")], ["/open"], ["/private/x"]),
        ([plain(b"<!doctype html><p>no such file")], ["/open", "/private/x"], []),
        ([plain(b"")], ["/open", "/private/x"], []),
        ([plain(b"", status="204 No Content")], ["/open"], []),
        ([plain(HERE + b"Disallow: /*.pdf$\nDisallow: /*?session=\nAllow: /private/open\n")],
         ["/private/open", "/a.pdf.html"], ["/a/b.pdf", "/x?session=1"]),
        ([plain(b"User-agent: Millrace-Synthesis\nDisallow: /mine\n\nUser-agent: *\nDisallow: /\n")], ["/open"], ["/mine"]),
        ([plain(b"", status="404 Not Found")], ["/private/x"], []),
        ([plain(b"", status="410 Gone")], ["/private/x"], []),
        ([plain(b"", status="401 Unauthorized")], [], ["/open"]),
        ([plain(b"", status="403 Forbidden")], [], ["/open"]),
        ([plain(b"", status="429 Slow Down")], [], ["/open"]),
        ([plain(b"", status="500 Broken")], [], ["/open"]),
        ([plain(b"", status="503 Busy")], [], ["/open"]),
        ([plain(b"", status="301 Moved")], [], ["/open"]),
        ([plain(b"", "location: /robots.txt", status="302 Found")], [], ["/open"]),
        ([plain(b"", "location: http://10.0.0.1/robots.txt", status="302 Found")], [], ["/open"]),
        ([b"not http"], [], ["/open"]),
    ],
)  # fmt: skip
def test_robots_txt_means_what_its_standard_says(
    answer: list[bytes], allowed: list[str], forbidden: list[str], fetching: Callable[..., Fetcher]
) -> None:
    fetcher = fetching(robots(answer), robots=True, max_bytes=2_000_000)
    fetcher._resolver = lambda host, port: [host if re.match(r"[\d.]+$", host) else PUBLIC]
    for path in allowed:
        assert fetcher.get(f"http://site.example{path}").text == "a page", path
    for path in forbidden:
        with pytest.raises(ToolError, match=r"robots\.txt"):
            fetcher.get(f"http://site.example{path}")


def test_robots_txt_is_asked_for_once_by_threads_that_come_together(fetching: Callable[..., Fetcher]) -> None:
    def script(path: str) -> Iterable[bytes]:
        time.sleep(0.1)
        return [plain(HERE)]

    fetcher = fetching(script, robots=True)
    threads = [threading.Thread(target=fetcher.get, args=(f"http://site.example/{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked = fetcher.server.asked  # type: ignore[attr-defined]
    assert asked.count("/robots.txt") == 1
    assert len(asked) == 7


def test_rules_are_kept_for_a_day_and_a_broken_servers_for_minutes() -> None:
    now = [0.0]
    known = KnownRules(lambda: now[0])
    known.put("http://good", Rules(HERE.decode()))
    known.put("http://broken", Rules.of_status(503))
    now[0] = 299
    assert known.get("http://good") is not None
    assert known.get("http://broken") is not None
    now[0] = 301
    assert known.get("http://broken") is None
    now[0] = 24 * 3600 + 1
    assert known.get("http://good") is None
    for number in range(1_000):
        known.put(f"http://{number}", Rules(""))
    assert known.get("http://0") is None
    assert known.get("http://999") is not None


@pytest.mark.parametrize(
    ("line", "delay"),
    [("Crawl-delay: 2", 2), ("Crawl-delay: 0.5", 0.5), ("Request-rate: 1/5", 5), ("Crawl-delay: nan", 0), ("Crawl-delay: -3", 0),
     ("Crawl-delay: soon", 0), ("Crawl-delay: inf", 0), ("", 0)],
)  # fmt: skip
def test_the_time_between_requests_is_what_the_file_says(line: str, delay: float) -> None:
    assert Rules(f"User-agent: *\n{line}\nDisallow: /x").delay_s("millrace-synthesis") == delay


def turns_taken(folder: Path, count: int, answers: multiprocessing.Queue[list[float]]) -> None:
    turns, mine = Turns(folder, clock=lambda: 1_000.0), []
    for _ in range(count):
        mine.append(turns.take("site.example", 2.0, 1e9))
    answers.put(mine)


def test_workers_wait_for_each_others_turns_at_a_host(tmp_path: Path) -> None:
    many = multiprocessing.get_context("fork")
    answers: multiprocessing.Queue[list[float]] = many.Queue()
    workers = [many.Process(target=turns_taken, args=(tmp_path, 5, answers)) for _ in range(3)]
    for worker in workers:
        worker.start()
    waits = sorted(wait for _ in workers for wait in answers.get(timeout=20))
    for worker in workers:
        worker.join()
    assert waits == [2.0 * number for number in range(15)]


def test_a_turn_that_is_not_waited_for_pushes_no_one_back_and_a_clock_that_was_wrong_is_no_row(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        now = [1_000.0]
        turns = Turns(folder, clock=lambda now=now: now[0])  # type: ignore[misc]
        assert turns.take("a", 30.0, 10.0) == 0
        assert [turns.take("a", 30.0, 10.0) for _ in range(4)] == [30.0] * 4
        assert turns.take("b", 30.0, 10.0) == 0, "another host has a row of its own"
        now[0] += 25
        assert turns.take("a", 30.0, 10.0) == 5.0
        now[0] -= 500_000
        assert turns.take("a", 30.0, 10.0) == 0
    (tmp_path / "file").write_bytes(b"")
    unwritable = Turns(tmp_path / "file" / "turns", clock=lambda: 0.0)
    assert [unwritable.take("a", 1.0, 9.0) for _ in range(3)] == [0.0, 1.0, 2.0]
    for torn in (b"", b"xy", struct.pack("<d", float("nan"))):
        turns = Turns(tmp_path / "torn", clock=lambda: 50.0)
        turns.take("c", 1.0, 0.0)
        next((tmp_path / "torn").iterdir()).write_bytes(torn)
        assert turns.take("c", 1.0, 9.0) == 0.0


CHARSETS: list[tuple[str, bytes, str]] = [
    ("text/html; charset=iso-8859-1", b"\x93quoted\x94 \x80", "“quoted” €"),
    ("text/html; charset=us-ascii", b"\x93x", "“x"),
    ("text/html; charset=windows-1252", b"\x81\x80", "\x81€"),
    ("text/html; charset=gb2312", "镕".encode("gb18030"), "镕"),
    ("text/html; charset=x-sjis", "①".encode("cp932"), "①"),
    ("text/html; charset=euc-kr", "똠".encode("cp949"), "똠"),
    ("text/html; charset=big5", "啫".encode("big5hkscs"), "啫"),
    ("text/html; charset=utf-16", "häuser".encode("utf-16-le"), "häuser"),
    ("text/html; charset=utf-16be", "häuser".encode("utf-16-be"), "häuser"),
    ("text/html; charset=utf-8", b'<meta charset="gbk">h\xc3\xa4', '<meta charset="gbk">hä'),
    ("text/html; charset=gbk", b"\xef\xbb\xbfh\xc3\xa4", "hä"),
    ("text/html", b"\xfe\xff" + "hä".encode("utf-16-be"), "hä"),
    ("text/html", b'<!-- <meta charset="gbk"> --><meta charset=windows-1251>\xcc', "М"),
    ("text/html", b'<script>"<meta charset=gbk>"</script><meta charset=windows-1251>\xcc', "М"),
    ("text/html", b"<title><meta charset=gbk></title><meta charset=windows-1251>\xcc", "М"),
    ("text/html", b'<meta name=x content="text/html; charset=gbk"><meta charset=windows-1251>\xcc', "М"),
    ("text/html", b"<META HTTP-EQUIV='content-type' CONTENT='text/html;charset=windows-1251'>\xcc", "М"),
    ("text/html", b'<meta charset="utf-16">h\xc3\xa4', "hä"),
    ("text/html", b'<meta charset="klingon"><meta charset="windows-1251">\xcc', "М"),
    ("text/html; charset=klingon", b'<meta charset="windows-1251">\xcc', "М"),
    ("application/xml", '<?xml version="1.0" encoding="windows-1251"?><a>М</a>'.encode("cp1251"), "М"),
    ("application/xhtml+xml", '<?xml version="1.0" encoding="windows-1251"?><a>М</a>'.encode("cp1251"), "М"),
    ("text/html; charset=klingon", b"caf\xe9 \x80 \x81", "café € \x81"),
    ("text/html; charset=utf-7", b"+ADw-script+AD4- h\xc3\xa4", "+ADw-script+AD4- hä"),
    ("text/html; charset=utf-32", b"h\xc3\xa4", "hä"),
    ("text/html; charset=iso-2022-cn", b"caf\xe9", "café"),
    ("", b"caf\xe9", "café"),
    ("text/plain", b"h\xc3\xa4", "hä"),
]


@pytest.mark.parametrize(("content_type", "body", "text"), CHARSETS)
def test_a_page_is_read_as_browsers_read_it_and_an_unknown_character_set_loses_nothing(
    content_type: str, body: bytes, text: str, fetching: Callable[..., Fetcher]
) -> None:
    said = fetching(lambda path: [plain(body, f"content-type: {content_type}")]).get("http://site.example/").text
    assert text in said
    assert "\ufffd" not in said


def test_a_search_service_is_held_to_the_same_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERPER_API_KEY", "key")
    names = [*(name for name in NEVER_ENDING if "redirect" not in name), "a body without end", "gzip bomb"]
    servers = [Raw({**NEVER_ENDING, **TOO_MUCH}[name]) for name in names]

    def search(server: Raw) -> float:
        asked, close = web_search_service(f"http://127.0.0.1:{server.port}", "search", 3, 4, LIMIT_S)
        try:
            return seconds_to_fail(lambda: asked(["one", "two"]))
        finally:
            close()

    with ThreadPoolExecutor(len(servers)) as pool:
        seconds = list(pool.map(search, servers))
    for server in servers:
        server.close()
    assert {name for name, took in zip(names, seconds, strict=True) if took > LIMIT_S + 2} == set()
