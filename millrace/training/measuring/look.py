"""Run a training command for a short while, alone, and find out what its lines mean."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from millrace.errors import RunFailed, UsageError
from millrace.processes.supervised import supervised
from millrace.records.training.look import TrainingLook
from millrace.training.measuring.printed import Printed, find
from millrace.training.observation import LINE_DELAY_S, shown_lines

ENOUGH = 3
"""So many epochs are seen before the look ends; the third tells that the first two were no chance."""
ENOUGH_LINES = 50
"""The same for lines that are no epochs, of which the first may be of a warm-up."""
KEPT_LINES = 20_000
"""The first lines of a program that prints without end are enough."""
CHECK_EVERY_S = 0.25


def look_at(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    longest_s: float,
    grace_s: float,
    metrics: Mapping[str, str],
) -> TrainingLook:
    """Run `command` alone, at most until three epochs were seen, and say how it is to be read.

    Args:
        command: program and arguments.
        cwd: the folder in which it runs.
        env: its whole environment.
        log: what it prints is kept here.
        longest_s: the look's limit, in seconds.
        grace_s: between TERM and KILL when enough was seen.
        metrics: patterns of the user's, which go before those that are found.

    Raises:
        UsageError: there is no such program.
        RunFailed: it ended with an error.
    """
    lines: list[tuple[float, str]] = []
    taken = threading.Lock()

    def take(line: str) -> None:
        now = time.monotonic()
        with taken:
            if len(lines) < KEPT_LINES:
                lines.extend((now, part) for part in shown_lines(line))

    ended: Literal["by itself", "enough was seen", "look_s was over"] = "by itself"
    log.unlink(missing_ok=True)
    try:
        with supervised(command, log=log, cwd=cwd, env=env, grace_s=grace_s, on_line=take, line_delay_s=LINE_DELAY_S) as process:
            began, looked = time.monotonic(), 0
            while process.wait(CHECK_EVERY_S) is None:
                with taken:
                    have = list(lines)
                if len(have) > looked and _is_enough(find(have)):
                    ended = "enough was seen"
                    break
                looked = len(have)
                if time.monotonic() - began > longest_s:
                    ended = "look_s was over"
                    break
            returncode = process.poll()
    except FileNotFoundError as error:
        raise UsageError(f"measure.command: there is no program '{command[0]}'") from error
    except OSError as error:
        raise UsageError(f"measure.command: '{command[0]}' cannot be started: {error.strerror or error}") from error
    if returncode:
        said = " / ".join(text for _, text in lines[-3:])[-400:] or "it printed nothing"
        raise RunFailed(f"the command ended with exit code {returncode} while it was looked at: {said}; see {log}")
    found = find(lines, ended=ended == "by itself")
    return TrainingLook(
        command=list(command),
        unit=found.unit,
        epoch=found.epoch,
        ready=found.ready,
        metrics={**found.metrics, **metrics},
        line=found.line,
        values=found.values,
        seen=found.seen,
        every_s=found.every_s,
        of=found.of,
        ended=ended,
    )


def _is_enough(found: Printed) -> bool:
    if found.unit == "epoch":
        return found.seen >= ENOUGH + (found.ready is not None)
    return found.unit == "line" and found.seen >= ENOUGH_LINES


def in_words(look: TrainingLook) -> list[str]:
    """What was read, for the person who knows what was meant."""
    if look.unit == "nothing":
        head = "no line was found that ends an epoch: whole runs are compared; `measure.epoch` can name the line's pattern"
    else:
        every = f", every {look.every_s:.3g} s" if look.every_s is not None else ""
        what = "ends an epoch" if look.unit == "epoch" else "comes again and again; each one is counted as an epoch"
        head = f"a line that {what} ({look.seen} seen{every}): {look.line}"
    values = [f"{name} {look.values[name]:g}" if name in look.values else name for name in look.metrics]
    return [head, f"metrics: {', '.join(values) or 'none'}"]
