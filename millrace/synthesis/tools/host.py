"""Runs an environment's tools in a process of their own, which is ended when a call takes too long or too much.

A call that computes in C holds the interpreter: neither a thread nor a signal handler of the same process can stop it. The
process here opens the same environment again (`program.py`) and answers one JSON line per call; whoever waits in vain kills
it, and the next call starts another one.

Covers: time (wall clock, by a kill; and by the kernel's own alarm when the waiting process is gone), memory, size of the answer,
a tool that ends its process. Does not cover: what a tool does to the world outside; that is the tool's own affair.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from millrace.errors import InputError
from millrace.records.record import encode
from millrace.records.trajectories import Arguments, CallCause, CallStatus, Part
from millrace.synthesis.environments import Action, Observation

START_WITHIN_S = 600.0
"""How long a process may take to open its environment: an index over a large corpus is made then."""

MEMORY_BYTES = 4 * 2**30
"""Address space for calls, beyond what the open environment takes."""

TOGETHER = 16
"""Calls that are handed over at once; as many as the process has threads (see `program.py`)."""

PIPE_ROOM = 16_384
"""Bytes that any system's pipe takes in while no reader takes them out: more calls than fit wait for the next turn."""

log = logging.getLogger("millrace.synthesis")


class ToolOpening(Part, frozen=True, kw_only=True):
    """The first line to the tools' process: what to open."""

    mode: str
    """The environment, as in a config."""
    kwargs: Arguments
    memory_bytes: int


class ToolRequest(Part, frozen=True, kw_only=True):
    """A line to the tools' process (`program.py`): a call."""

    id: int
    tool: str
    parameters: Arguments
    timeout_s: float
    max_chars: int


class ToolAnswer(Part, frozen=True, kw_only=True):
    """A line from the tools' process."""

    id: int
    status: CallStatus
    text: str
    cause: CallCause


class ToolReady(Part, frozen=True, kw_only=True):
    """The first line from the tools' process: its environment is open, or why not."""

    problem: str = ""
    concurrent: bool = False
    """Whether it runs calls side by side."""


@dataclass
class _Waiting:
    """A call that has no answer yet."""

    process: subprocess.Popen[bytes]
    done: threading.Event = field(default_factory=threading.Event)
    answer: ToolAnswer | None = None


class ToolHost:
    """The process behind an environment's tools. Started by the first call; safe to use from several threads."""

    def __init__(self, mode: str, kwargs: Mapping[str, Any], *, memory_bytes: int = MEMORY_BYTES) -> None:
        """
        Args:
            mode: the environment, as in a config.
            kwargs: its own settings.
            memory_bytes: address space for calls.
        """
        self._opening = _line(ToolOpening(mode=mode, kwargs=dict(kwargs), memory_bytes=memory_bytes))
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._concurrent = False
        self._waiting: dict[int, _Waiting] = {}
        self._number = 0

    def call(self, name: str, parameters: Mapping[str, Any], *, timeout_s: float, max_chars: int) -> Observation:
        """What the tool answers; after `timeout_s` its process is ended and the observation says so."""
        return self.call_all([Action(name, dict(parameters))], timeout_s=timeout_s, max_chars=max_chars)[0]

    def call_all(self, actions: Sequence[Action], *, timeout_s: float, max_chars: int) -> list[Observation]:
        """What the tools answer, in the calls' order.

        Each call has its own `timeout_s`: where the environment runs one call at a time, a call's time begins when the one before
        it is answered. A call that takes too long, or ends the process, is ended alone: the others are asked again.
        """
        answers: dict[int, Observation] = {}
        taken_along: set[int] = set()
        alone = False
        while len(answers) < len(actions):
            left = [place for place in range(len(actions)) if place not in answers]
            wanted = {place: actions[place] for place in left[: 1 if alone else TOGETHER]}
            process, asked = self._ask(wanted, timeout_s, max_chars)
            late = self._collect(asked, answers, timeout_s)
            trouble = [place for place in asked if place not in answers]
            if not trouble:
                continue
            first, alone = trouble[0], True
            sure = (
                len(asked) == 1 or not self._concurrent
            )  # side by side, it shows who is at fault when they are asked one by one
            problem = "its process ended during the call"
            if late:
                self._end(process)
                problem = f"no answer within {timeout_s:g} s; the call was ended"
            elif process.returncode == -signal.SIGKILL and first not in taken_along:
                taken_along.add(first)  # by another thread's call, which had to be ended
                sure = False
            if sure:
                answers[first] = Observation("error", f"{actions[first].tool_name}: {problem}", "ended")
        return [answers[place] for place in range(len(actions))]

    def _ask(
        self, wanted: Mapping[int, Action], timeout_s: float, max_chars: int
    ) -> tuple[subprocess.Popen[bytes], dict[int, _Waiting]]:
        """Send as many calls as fit into the pipe; at least one."""
        asked: dict[int, _Waiting] = {}
        sent = b""
        with self._lock:
            process = self._started()
            for place, action in wanted.items():
                request = _line(
                    ToolRequest(
                        id=self._number + 1,
                        tool=action.tool_name,
                        parameters=action.parameters,
                        timeout_s=timeout_s,
                        max_chars=max_chars,
                    )
                )
                if asked and len(sent) + len(request) > PIPE_ROOM:
                    break
                self._number += 1
                sent += request
                asked[place] = self._waiting[self._number] = _Waiting(process)
        assert process.stdin is not None
        # not under the lock: a process that hangs reads nothing, and the thread that ends it needs the lock
        with self._writing, contextlib.suppress(OSError, ValueError):  # it is ending, or closed: its listener says so
            process.stdin.write(sent)
            process.stdin.flush()
        return process, asked

    def _collect(self, asked: Mapping[int, _Waiting], answers: dict[int, Observation], timeout_s: float) -> bool:
        """Wait for the answers; whether a call is over its time."""
        deadline, late = time.monotonic() + timeout_s, False
        for place, waiting in asked.items():
            in_time = waiting.done.wait(max(0.0, deadline - time.monotonic()))
            if waiting.answer is None:
                late = late or not in_time
                if not self._concurrent:
                    break
                continue
            answers[place] = Observation(waiting.answer.status, waiting.answer.text, waiting.answer.cause)
            if not self._concurrent:
                deadline = time.monotonic() + timeout_s
        with self._lock:
            gone = set(map(id, asked.values()))
            self._waiting = {number: waiting for number, waiting in self._waiting.items() if id(waiting) not in gone}
        return late

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
            [sys.executable, "-m", "millrace.synthesis.tools.program"],
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
            first = process.stdout.readline()
        finally:
            giving_up.cancel()
        ready = msgspec.json.decode(first, type=ToolReady) if first else ToolReady(problem="it ended, or took too long, at that")
        if ready.problem:
            self._end(process)
            process.stdout.close()
            raise InputError(f"the tools' process cannot open its environment: {ready.problem}")
        self._process, self._concurrent = process, ready.concurrent
        threading.Thread(target=self._listen, args=(process,), daemon=True, name="tool answers").start()
        return process

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            for line in process.stdout:
                said = msgspec.json.decode(line, type=ToolAnswer)
                with self._lock:
                    waiting = self._waiting.get(said.id)
                if waiting is not None:
                    waiting.answer = said
                    waiting.done.set()
            process.stdout.close()
        process.wait()
        _close_input(process)
        with self._lock:
            if self._process is process:
                self._process = None
            for waiting in self._waiting.values():
                if waiting.process is process:  # no process is left to answer it
                    waiting.done.set()

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        began = time.monotonic()
        process.kill()
        process.wait()
        _close_input(process)
        if time.monotonic() - began > 1:
            log.warning("the tools' process took %.1f s to end", time.monotonic() - began)


def _close_input(process: subprocess.Popen[bytes]) -> None:
    """Let go of an ended process' input; its output is its listener's, who reads it to the end first."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _line(said: ToolOpening | ToolRequest) -> bytes:
    return encode(said) + b"\n"
