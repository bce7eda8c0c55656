"""Runs Python from anybody, isolated as far as this host allows, in a few milliseconds per call.

A zygote process (`zygote.py`) shuts itself into namespaces once and forks a limited child per call, so a call does not pay for
starting an interpreter.

Covers, in namespaces: no network, no files of the host (a read-only Python and 16 MB of scratch are all there is), no
environment, no view of other processes, no survivors. Covers, where the kernel filters system calls: no new process or thread,
no program, no socket, no IPC that outlives the call. Covers, always: CPU time, memory, file size, wall clock, size of output.
Does not cover: a hole in the kernel; and where namespaces are refused (`isolation` then ends in `only`), code that gets past the
audit hook, which a few lines of Python can, reads and writes what its user can: nobody should run that as root. Without the
filter the number of processes is limited too, but not for root.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from millrace.synthesis.environments import ToolError
from millrace.synthesis.environments.python.call_filter import filter_program

START_WITHIN_S, ANSWER_WITHIN_S = 120.0, 60.0
"""How long a fresh sandbox, and an answer beyond its own time limit, are waited for: starved by other load, a start took 30 s."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """What one call may use."""

    wall_s: int = 5
    cpu_s: int = 3
    memory_bytes: int = 512 * 2**20
    file_bytes: int = 2**20
    processes: int = 16
    output_bytes: int = 2**18


class Sandbox:
    """One zygote; calls from several threads wait for each other."""

    def __init__(self, limits: CallLimits | None = None, *, namespaces: bool = True, audit_hook: bool = True) -> None:
        self.limits = limits or CallLimits()
        self._wanted, self._hooked = namespaces, audit_hook
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = ""
        self._buffer = b""
        self.isolation = ""
        """What is in force on this host, as `namespaces, call filter, limits, audit hook`; known once it is open."""
        self.reason = ""
        """Why namespaces are not in force; empty when they are."""
        self._open()

    @property
    def pid(self) -> int:
        """The zygote's process."""
        assert self._process is not None
        return self._process.pid

    def run(self, expressions: list[str]) -> list[tuple[bool, str, str]]:
        """Run the expressions in one fresh name space: (is it an error, its value or error, what it printed) for each.

        Raises:
            ToolError: the code was stopped before it had a result for every expression, or is not text.
        """
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._shut()
                self._open()
            try:
                answer = self._ask({"expressions": expressions, "limits": asdict(self.limits)})
            except (OSError, ValueError) as error:
                self._shut()
                raise ToolError(f"the sandbox was lost in this call ({error}); the next call has a fresh one") from error
        try:  # code can write what it likes into the answer's pipe
            lines = [(bool(error), str(text), str(printed)) for error, text, printed in map(json.loads, answer["lines"])]
        except (ValueError, TypeError, RecursionError):
            raise ToolError("stopped: what it wrote as its answer is none") from None
        if len(lines) < len(expressions):
            why = answer["why"] or "the process was stopped (over its CPU, memory or file limit, or it ended itself)"
            raise ToolError(f"stopped at expression {len(lines) + 1}: {why}")
        return lines

    def close(self) -> None:
        """End the zygote and remove its folder."""
        with self._lock:
            self._shut()

    def _open(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="sandbox-")
        program = filter_program(os.uname().machine) or b""
        settings = json.dumps(
            {"namespaces": self._wanted, "audit_hook": self._hooked, "scratch": self._folder, "call_filter": program.hex()}
        )
        zygote = Path(__file__).with_name("zygote.py")
        self._buffer = b""
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(zygote), settings],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}, cwd=self._folder,
            start_new_session=True,
        )  # fmt: skip
        ready = self._answer(START_WITHIN_S)
        in_force = {"namespaces": ready["confined"], "call filter": ready["filtered"], "limits": True, "audit hook": self._hooked}
        self.isolation = ", ".join(name for name, holds in in_force.items() if holds) + ("" if ready["confined"] else " only")
        self.reason = ready["why"]

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer(self.limits.wall_s + ANSWER_WITHIN_S)

    def _answer(self, within_s: float) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = time.monotonic() + within_s
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise ValueError(f"no answer within {within_s:g} s")
            data = self._process.stdout.read1(65536)  # type: ignore[attr-defined]
            if not data:
                raise ValueError("its process ended")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def _shut(self) -> None:
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=2)
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._folder:
            folder, self._folder = self._folder, ""
            try:
                shutil.rmtree(folder, ignore_errors=True)
            except RecursionError:  # folders in folders, made to be too deep for it
                subprocess.run(["rm", "-rf", folder], check=False, capture_output=True)
