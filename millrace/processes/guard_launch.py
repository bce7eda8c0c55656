"""Starts the guard program and wires it to us; the supervisor's half of millrace/processes/guard.py."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from millrace.processes.messages import Order, WiredOrder

_ROOT = Path(__file__).resolve().parent.parent.parent
_CODE = "import sys; sys.path.append(sys.argv[1]); from millrace.processes.guard import main; main()"
_MAX_LINE_BYTES = 1 << 20
_LINE_END = re.compile(rb"\r\n|\n|\r")


class Wires(NamedTuple):
    """The guard and our ends of its pipes. Closing `lifeline` ends the whole tree at once; `lines` is -1 without `on_line`."""

    guard: subprocess.Popen[bytes]
    lifeline: int
    control: int
    status: int
    lines: int


def launch_guard(spec: Order, *, listen: bool) -> Wires:
    """Start a guard for `spec`. What the guard inherits are its pipes and a pidfd of ours, nothing else."""
    lifeline, lifeline_in = os.pipe()
    control, control_in = os.pipe()
    status_out, status = os.pipe()
    lines_out, forward = os.pipe() if listen else (-1, -1)
    supervisor = pidfd(os.getpid())
    inherited = [end for end in (lifeline, control, status, forward, supervisor) if end >= 0]
    wired: WiredOrder = {
        **spec,
        "lifeline": lifeline,
        "control": control,
        "status": status,
        "forward": forward,
        "supervisor": supervisor,
    }
    wires = None
    try:
        guard = subprocess.Popen(
            guard_command(f"guarding {spec['command'][0]}"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=inherited,
            start_new_session=True,
            close_fds=True,
        )
        wires = Wires(guard, lifeline_in, control_in, status_out, lines_out)
        assert guard.stdin is not None
        with contextlib.suppress(BrokenPipeError), guard.stdin:
            guard.stdin.write(json.dumps(wired).encode())
        return wires
    finally:
        for end in inherited:
            os.close(end)
        if wires is None:
            for end in (lifeline_in, control_in, status_out, lines_out):
                if end >= 0:
                    os.close(end)


def guard_command(last_argument: str) -> list[str]:
    """The argv of a guard; what it guards it reads from a pipe, because other users can read an argv."""
    return [sys.executable, "-I", "-S", "-X", "utf8", "-c", _CODE, str(_ROOT), last_argument]


def pidfd(pid: int) -> int:
    """A file descriptor that becomes readable when `pid` ends; -1 where there is none (other systems, strict sandboxes)."""
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return -1


def call_for_each_line(pipe: int, on_line: Callable[[str], None]) -> None:
    """Read `pipe` to its end and call `on_line` with every line; lines without end are cut at 1 MiB.

    A carriage return ends a line as well: a progress bar that is drawn over and over is a sign of life.
    """
    wanted = True
    rest = b""
    with os.fdopen(pipe, "rb", buffering=0) as source:
        while data := source.read(1 << 16):
            lines, rest = whole_lines(rest + data)
            if len(rest) > _MAX_LINE_BYTES:
                lines.append(rest)
                rest = b""
            wanted = wanted and _hand_over(lines, on_line)
    if rest and wanted:
        _hand_over([rest], on_line)


def whole_lines(data: bytes) -> tuple[list[bytes], bytes]:
    """The lines in `data` that have ended, and the rest; a carriage return at the very end waits for its line feed."""
    held = data[-1:] if data.endswith(b"\r") else b""
    *lines, rest = _LINE_END.split(data.removesuffix(held))
    return lines, rest + held


def _hand_over(lines: list[bytes], on_line: Callable[[str], None]) -> bool:
    try:
        for line in lines:
            on_line(line.removesuffix(b"\r").decode(errors="replace"))
    except Exception:  # (a callback's mistake must not stall the command, whose output would stay unread)
        logging.getLogger(__name__).exception("on_line failed; it is not called again for this command")
        return False
    return True
