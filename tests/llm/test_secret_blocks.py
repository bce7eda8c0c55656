"""A key may be in a Secret block of the Prefect server; what goes wrong with it is one sentence without the key."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from millrace.errors import UsageError
from millrace.llm.keys import read_key
from millrace.llm.settings import EndpointSettings

BLOCKS = {"good": "sk-from-a-block", "empty": "  ", "table": {"a": 1}}


class Blocks(BaseHTTPRequestHandler):
    """The one route of Prefect's API that hands out a block; a login is asked of whoever wants `locked`."""

    def do_GET(self) -> None:
        name = self.path.removeprefix("/api/block_types/slug/secret/block_documents/name/").removesuffix("?include_secrets=true")
        if name == "locked" and self.headers["Authorization"] != "Basic bWU6cHc=":
            self.send_error(401)
        elif name in BLOCKS or name == "locked":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"name": name, "data": {"value": BLOCKS.get(name, "sk-locked")}}).encode())
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def prefect_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Blocks)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
    monkeypatch.delenv("PREFECT_API_KEY", raising=False)
    monkeypatch.delenv("PREFECT_API_AUTH_STRING", raising=False)
    yield
    server.shutdown()
    server.server_close()


def test_a_block_holds_the_key_and_its_text_is_not_shown() -> None:
    key = read_key(None, "good")
    assert key is not None
    assert key.reveal() == "sk-from-a-block"
    assert "sk-from" not in repr(key)


def test_a_server_with_a_login_is_given_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="HTTP 401"):
        read_key(None, "locked")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "me:pw")
    key = read_key(None, "locked")
    assert key is not None
    assert key.reveal() == "sk-locked"


@pytest.mark.parametrize(
    ("block", "said"),
    [("missing", "has no Secret block 'missing'"), ("empty", "is empty"), ("table", "holds a dict, not the text of a key")],
)
def test_a_block_without_a_key_is_one_sentence(block: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_key(None, block)


def test_without_a_server_the_sentence_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="set PREFECT_API_URL, or name an environment variable"):
        read_key(None, "good")


def test_a_key_has_one_place() -> None:
    with pytest.raises(ValueError, match="once: api_key_env or api_key_block"):
        EndpointSettings(base_url="http://127.0.0.1/v1", api_key_env="A", api_key_block="b")
