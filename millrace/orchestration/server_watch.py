"""Notices that a run's own Prefect server is gone, and ends the run at once: the folder, not the server, says how it ended.

Prefect's client would ask a dead server again and again for minutes, at each state of each flow run. So one that is dead or hangs
is replaced by a stand-in on its port, which answers every request with "gone", and the main thread is interrupted as by Ctrl-C.

Covers: a server that was killed, ended by itself or was stopped; one that listens and does not answer. Does not cover: a server
of the user's own (Prefect's client outlives its restart), a run that is not on the main thread (its next request fails).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import socketserver
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from millrace.processes.supervised import SupervisedProcess

LOOK_S = 0.2
"""Between two looks at the process."""
ASK_S = 5.0
"""Between two questions, and how long one may take."""
HANGS_AFTER_S = 30.0
"""Without an answer for so long it hangs. A busy one was seen to take some seconds; Prefect's client gives up after 60 s."""
LEAVE_S = 20.0
"""How long the run may take to clean up before its process ends all the same; what it started ends with it."""


class ServerLost(KeyboardInterrupt):
    """The run's own Prefect server is gone. No Exception: what makes records of failed items must not catch it.

    Attributes:
        code: what the command ends with.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message, code)
        self.message, self.code = message, code

    def __str__(self) -> str:
        return self.message


class ServerWatch:
    """Watches the server for the length of a block.

    Args:
        url: of its API.
        server: its process.
        outcome: how the run stands by its folder, as a `ServerLost` made of what happened to the server.
        hangs_after_s: how long it may give no answer.
        leave_s: how long the block may take to end once the server is gone.

    Raises:
        ServerLost: at the block's end, whatever else ended it, when the server went before.
    """

    def __init__(
        self,
        url: str,
        server: SupervisedProcess,
        outcome: Callable[[str], ServerLost],
        *,
        hangs_after_s: float = HANGS_AFTER_S,
        leave_s: float = LEAVE_S,
    ) -> None:
        self._url, self._server, self._outcome = url, server, outcome
        self._hangs_after_s, self._leave_s = hangs_after_s, leave_s
        self._why = ""
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._main = threading.current_thread() is threading.main_thread()
        self._old: Any = None
        self._stand_in: _StandIn | None = None
        self._thread = threading.Thread(target=self._watch, name="server-watch", daemon=True)

    @property
    def lost(self) -> bool:
        """Whether the server is gone."""
        return bool(self._why)

    def __enter__(self) -> Self:
        if self._main:
            self._old = signal.signal(signal.SIGUSR1, self._interrupted)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            self._over.set()
        if self._main:
            signal.signal(signal.SIGUSR1, self._old)
        if self._why:
            raise self._outcome(self._why) from error

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        raise ServerLost(self._why)

    def _watch(self) -> None:
        answered = time.monotonic()
        asked = 0.0
        while not self._over.wait(LOOK_S):
            now = time.monotonic()
            if self._server.poll() is not None:
                self._end("has ended")
                return
            if now - asked < ASK_S:
                continue
            asked = now
            if self._answers():
                answered = time.monotonic()
            elif time.monotonic() - answered > self._hangs_after_s and self._server.poll() is None:
                self._end(f"has not answered for {time.monotonic() - answered:.0f} s")
                return

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/health", timeout=min(ASK_S, self._hangs_after_s)):  # noqa: S310 - ours
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def _end(self, why: str) -> None:
        with contextlib.suppress(Exception):  # it may have ended meanwhile
            self._server.stop(0.0)
        with self._lock:
            if self._over.is_set():
                return
            self._why = f"the run's own Prefect server {why}"
            with contextlib.suppress(OSError):  # then connections are refused, and Prefect asks for longer
                parts = urlsplit(self._url)
                self._stand_in = _StandIn((parts.hostname or "", parts.port or 0), _Gone)
                threading.Thread(target=self._stand_in.serve_forever, args=(0.1,), daemon=True).start()
            if self._main:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        if self._main and not self._over.wait(self._leave_s):
            leave(self._outcome(self._why))


class _Gone(socketserver.StreamRequestHandler):
    """Answers each request at once with an error that Prefect's client does not try again."""

    def handle(self) -> None:
        self.request.settimeout(1.0)
        with contextlib.suppress(OSError):
            self.request.recv(1 << 16)
            self.wfile.write(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.request.shutdown(socket.SHUT_WR)
            while self.request.recv(1 << 16):  # closed with something unread, the connection would be reset and tried again
                pass


class _StandIn(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def leave(lost: ServerLost) -> None:
    """Say what happened and end the process, without the minutes in which Prefect would send what it has queued."""
    print(f"millrace: {lost}", file=sys.stderr)  # noqa: T201 - the command's answer
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(lost.code)
