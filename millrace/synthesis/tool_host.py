"""Runs an environment's tools in a process of their own, which is ended when a call takes too long or too much.

A call that computes in C holds the interpreter: neither a thread nor a signal handler of the same process can stop it. The
process here opens the same environment again (`tool_program.py`) and answers one JSON line per call; whoever waits in vain kills
it, and the next call starts another one.

Covers: time (wall clock, by a kill; and by the kernel's own alarm when the waiting process is gone), memory, size of the answer,
a tool that ends its process. Does not cover: what a tool does to the world outside; that is the tool's own affair.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from millrace.errors import InputError
from millrace.synthesis.environments import Observation

START_WITHIN_S = 600.0
"""How long a process may take to open its environment: an index over a large corpus is made then."""

MEMORY_BYTES = 4 * 2**30
"""Address space for calls, beyond what the open environment takes."""

log = logging.getLogger("millrace.synthesis")


@dataclass
class _Waiting:
    """A call that has no answer yet."""

    request: bytes
    done: threading.Event = field(default_factory=threading.Event)
    answer: dict[str, Any] | None = None


class ToolHost:
    """The process behind an environment's tools. Started by the first call; safe to use from several threads."""

    def __init__(self, mode: str, kwargs: Mapping[str, Any], *, memory_bytes: int = MEMORY_BYTES) -> None:
        """
        Args:
            mode: the environment, as in a config.
            kwargs: its own settings.
            memory_bytes: address space for calls.
        """
        self._opening = json.dumps({"mode": mode, "kwargs": dict(kwargs), "memory_bytes": memory_bytes}).encode() + b"\n"
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: dict[int, _Waiting] = {}
        self._number = 0

    def call(self, name: str, parameters: Mapping[str, Any], *, timeout_s: float, max_chars: int) -> Observation:
        """What the tool answers; after `timeout_s` its process is ended and the observation says so."""
        asked = {"tool": name, "parameters": dict(parameters), "timeout_s": timeout_s, "max_chars": max_chars}
        for _ in range(2):  # a process that another thread's call had to end took this one along: it is asked once more
            with self._lock:
                process = self._started()
                self._number += 1
                number = self._number
                waiting = _Waiting(json.dumps({"id": number, **asked}).encode() + b"\n")
                self._waiting[number] = waiting
                try:
                    assert process.stdin is not None
                    process.stdin.write(waiting.request)
                    process.stdin.flush()
                except OSError:
                    pass  # it is ending; its reader says so below
            answered = waiting.done.wait(timeout_s)
            with self._lock:
                self._waiting.pop(number, None)
            if not answered:
                self._end(process)
                return Observation("error", f"{name}: no answer within {timeout_s:g} s; the call was ended", "ended")
            if waiting.answer is not None:
                said = waiting.answer
                return Observation(said["status"], said["text"], said["cause"])
            if process.returncode is None or process.returncode != -9:
                break
        return Observation("error", f"{name}: its process ended during the call", "ended")

    def close(self) -> None:
        """End the process. Harmless when called twice."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            self._end(process)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        path = os.pathsep.join(place for place in sys.path if place)
        process = subprocess.Popen(
            [sys.executable, "-m", "millrace.synthesis.tool_program"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        giving_up = threading.Timer(START_WITHIN_S, process.kill)
        giving_up.daemon = True
        giving_up.start()
        try:
            with contextlib.suppress(OSError):
                process.stdin.write(self._opening)
                process.stdin.flush()
            ready = json.loads(process.stdout.readline() or b'{"problem": "it ended, or took too long, while it opened"}')
        finally:
            giving_up.cancel()
        if ready.get("problem"):
            self._end(process)
            raise InputError(f"the tools' process cannot open its environment: {ready['problem']}")
        self._process = process
        threading.Thread(target=self._listen, args=(process,), daemon=True, name="tool answers").start()
        return process

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            for line in process.stdout:
                said = json.loads(line)
                with self._lock:
                    waiting = self._waiting.get(said["id"])
                if waiting is not None:
                    waiting.answer = said
                    waiting.done.set()
        process.wait()
        with self._lock:
            if self._process is process:
                self._process = None
            if self._process is None:  # nobody else can answer those that still wait
                for waiting in self._waiting.values():
                    waiting.done.set()

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        began = time.monotonic()
        process.kill()
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        process.wait()
        if time.monotonic() - began > 1:
            log.warning("the tools' process took %.1f s to end", time.monotonic() - began)
