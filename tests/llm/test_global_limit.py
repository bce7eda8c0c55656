"""A rate on the Prefect server holds everybody together who names it; what is wrong with it is said before any request."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from millrace.errors import UsageError
from millrace.llm.throttle.global_limit import GlobalLimit


class Limits(BaseHTTPRequestHandler):
    """Prefect's two routes for a limit with slot decay: 200 while slots are free, 423 with Retry-After when not."""

    limit, decay = 10, 20.0
    used, looked_at, asked = 0.0, 0.0, 0

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if name == "nobody":
            self.send_error(404)
        else:
            decay = 0.0 if name == "plain" else self.decay
            self._say({"name": name, "limit": self.limit, "slot_decay_per_second": decay, "active": name != "off"})

    def do_POST(self) -> None:
        kind = type(self)
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert wanted["mode"] == "rate_limit"
        now = time.monotonic()
        kind.used = max(0.0, kind.used - (now - kind.looked_at) * kind.decay)
        kind.looked_at = now
        kind.asked += 1
        if kind.used + wanted["slots"] > kind.limit:
            self.send_response(423)
            self.send_header("Retry-After", str((kind.used + wanted["slots"] - kind.limit) / kind.decay))
            self.end_headers()
            return
        kind.used += wanted["slots"]
        self._say([{"name": wanted["names"][0], "limit": kind.limit}])

    def _say(self, what: Any) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(what).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Limits]]:
    kind = type("OwnLimits", (Limits,), {"looked_at": time.monotonic()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
    yield kind
    server.shutdown()
    server.server_close()


def test_two_clients_together_stay_within_the_limit(limits: type[Limits]) -> None:
    async def send(count: int) -> None:
        one, other = GlobalLimit("shared"), GlobalLimit("shared")
        await asyncio.gather(*(limit.acquire() for limit in (one, other) for _ in range(count)))

    before = time.monotonic()
    asyncio.run(send(25))
    took = time.monotonic() - before
    # 50 requests; 10 may go at once, the others come up 20 a second
    assert took >= (50 - 10) / 20
    assert limits.asked < 50, "slots are taken in blocks"


def test_a_limit_that_is_switched_off_asks_nobody(limits: type[Limits]) -> None:
    asyncio.run(GlobalLimit("off").acquire())
    assert limits.asked == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [("nobody", "has no global limit 'nobody'; make it: prefect gcl create"), ("plain", "no slot decay")],
)
def test_a_limit_that_is_no_rate_is_one_sentence(limits: type[Limits], name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        GlobalLimit(name)


def test_without_a_server_the_sentence_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="set PREFECT_API_URL"):
        GlobalLimit("shared")
