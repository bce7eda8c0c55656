"""The process in which tools run: `python -m millrace.synthesis.tools.program`, driven by `host.ToolHost` over its pipes.

First line in: what to open. Then a JSON line in for each call, a JSON line out for each answer. It ends when its input ends, and,
in the middle of a call, by the kernel's alarm when that call is over its time: nobody need be left to kill it.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import msgspec

from millrace.plugins.contracts import completed
from millrace.plugins.loading import load_plugin
from millrace.synthesis.chat.read_back import TOOL as READ_BACK
from millrace.synthesis.chat.read_back import answer_here
from millrace.synthesis.environments import Environment, Observation, called
from millrace.synthesis.tools.host import TOGETHER, ToolAnswer, ToolOpening, ToolReady, ToolRequest

BEYOND_S = 5.0
"""How much later than the waiting process's own limit the alarm comes."""

THREADS = TOGETHER
"""Calls at a time, where an environment's tools allow several."""


class Alarm:
    """The kernel ends this process when the latest deadline of the calls under way has passed."""

    def __init__(self) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        self._lock = threading.Lock()
        self._deadlines: list[float] = []

    def enter(self, seconds: float) -> float:
        """A call begins that may take so long."""
        with self._lock:
            deadline = time.monotonic() + seconds + BEYOND_S
            self._deadlines.append(deadline)
            self._arm()
            return deadline

    def leave(self, deadline: float) -> None:
        """It has ended."""
        with self._lock:
            self._deadlines.remove(deadline)
            self._arm()

    def _arm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, max(0.01, max(self._deadlines) - time.monotonic()) if self._deadlines else 0)


def main() -> None:
    """Open the environment, answer calls until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever waits decides when this process ends
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a tool prints is no answer
    opening = msgspec.json.decode(sys.stdin.buffer.readline(), type=ToolOpening)
    try:
        module = load_plugin("millrace.synthesis.environments", opening.mode, "environment")
        environment = completed(module.open_environment(**opening.kwargs), Environment, f"the environment '{opening.mode}'")
        environment.prepare()
    except Exception as error:  # noqa: BLE001 - told to the process that waits
        _say(answers, threading.Lock(), ToolReady(problem=f"{type(error).__name__}: {error}"))
        return
    _limit_memory(opening.memory_bytes)
    lock, alarm = threading.Lock(), Alarm()
    _say(answers, lock, ToolReady(concurrent=bool(environment.concurrent)))

    def one(request: ToolRequest) -> None:
        deadline = alarm.enter(request.timeout_s)
        try:
            answer = _answer(environment, request)
        finally:
            alarm.leave(deadline)
        _say(answers, lock, answer)

    if environment.concurrent:
        pool = ThreadPoolExecutor(THREADS)
        for line in sys.stdin.buffer:
            pool.submit(one, msgspec.json.decode(line, type=ToolRequest))
    else:
        for line in sys.stdin.buffer:
            one(msgspec.json.decode(line, type=ToolRequest))
    os._exit(0)  # a thread that hangs must not keep the process


def _answer(environment: Environment, request: ToolRequest) -> ToolAnswer:
    try:
        if request.tool == READ_BACK:
            seen = answer_here(environment, str(request.parameters["question"]))
        else:
            seen = called(environment.tools[request.tool], request.parameters, request.max_chars)
    except MemoryError:
        seen = Observation("error", f"{request.tool}: the call took more memory than it may", "ended")
    return ToolAnswer(id=request.id, status=seen.status, text=seen.text, cause=seen.cause)


def _limit_memory(allowed: int) -> None:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:  # no /proc: the limit is then on everything
        pages = 0
    wanted = pages * resource.getpagesize() + allowed
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _say(answers: BinaryIO, lock: threading.Lock, what: ToolReady | ToolAnswer) -> None:
    with lock:
        answers.write(msgspec.json.encode(what) + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
