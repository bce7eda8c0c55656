"""A small web server on loopback for pages in memory or in a folder, living in a thread of the process that opened it."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Site:
    """Serves pages on 127.0.0.1 at a free port until it is closed; nothing outside this machine can reach it."""

    def __init__(self, pages: Mapping[str, str]) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                page = pages.get(self.path.split("?")[0])
                body = (page if page is not None else "no such page").encode()
                self.send_response(200 if page is not None else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8" if page is not None else "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True, name="site"
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


def pages_of(folder: Path) -> dict[str, str]:
    """All `.html` and `.htm` files below a folder, by address; `index.html` is also its folder's own address."""
    pages = {}
    for file in sorted(folder.rglob("*.htm*")):
        where = "/" + file.relative_to(folder).as_posix()
        pages[where] = file.read_text(encoding="utf-8", errors="replace")
        if file.name == "index.html":
            pages[where.removesuffix("index.html")] = pages[where]
    return pages
