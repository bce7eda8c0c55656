"""Whether a training succeeded, and if not, of which class its failure is and whether trying again can help.

Success is exit code 0, every epoch done, the expected metrics, and the hyperparameters echoed as they were asked for, together.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from millrace.training.observation import Observation
from millrace.training.parameters import Value, typed
from millrace.training.programs import Program

TRANSIENT = frozenset({"killed", "exit_code", "exception", "hung", "background_lost", "guard_lost", "not_ready"})
"""Failures that may pass. A wrong config, too little memory, a time-out or a diverging loss would only come again."""

HOPELESS = frozenset({"bad_config", "import_failed", "command_missing"})
"""The program cannot even begin: starting it again changes nothing, whatever else runs on the machine."""

RESUMABLE = frozenset({"killed", "exit_code", "exception", "hung", "guard_lost"})
"""Failures after which a training goes on from its checkpoint; where the load beside it was at fault, it is measured anew."""

OUT_OF_MEMORY = re.compile(
    r"out of memory|MemoryError|cannot allocate memory|can't allocate memory|std::bad_alloc", re.IGNORECASE
)
USAGE = re.compile(
    r"^usage: |: error: |^Error: (?:No such|Missing|Invalid|Got unexpected)|^Could not override |can't open file '", re.MULTILINE
)
"""What argparse, click and Hydra print, and Python itself for a script that is not there."""
IMPORT = re.compile(r"^(?:\[rank\d+\]: *)?((?:ModuleNotFound|Import|Syntax|Indentation)Error\b.*)$", re.MULTILINE)
NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)


@dataclass(frozen=True)
class Verdict:
    """How an attempt ended. `failure` is None for a success."""

    failure: str | None
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.failure is None

    @property
    def worth_retrying(self) -> bool:
        """Whether the same again may end differently."""
        return self.failure in TRANSIENT


def judge(
    program: Program,
    asked: Mapping[str, Value],
    returncode: int,
    seen: Observation,
    *,
    tail: str = "",
    oom_kills: int = 0,
    guard_lost: bool = False,
) -> Verdict:
    """The verdict on a training that ended by itself."""
    if guard_lost:
        return Verdict("guard_lost", "the program that guards the training was killed, and the training with it")
    if oom_kills or (returncode != 0 and _out_of_memory(seen, tail)):
        return Verdict("out_of_memory", _last_line(tail) if seen.error is None else seen.error.message or "")
    if seen.error is not None:
        return Verdict("exception" if seen.error.kind is None else seen.error.kind, seen.error.message or "")
    if returncode != 0 and NO_SPACE.search(tail):
        return Verdict("disk_full", _last_line(tail))
    if returncode < 0:
        return Verdict("killed", f"ended by {signal.Signals(-returncode).name}")
    if returncode == 2 and not seen.epochs and program.external is None:
        return Verdict("bad_config", _last_line(tail))
    if returncode != 0 and program.external is not None and not seen.epochs:
        if broken := IMPORT.findall(tail):
            return Verdict("import_failed", broken[-1][:500])
        if returncode == 2 and USAGE.search(tail):
            return Verdict("bad_config", _last_line(tail))
        if returncode in {126, 127}:
            return Verdict("command_missing", _last_line(tail))
    if returncode != 0:
        return Verdict("exit_code", f"exit code {returncode}: {_last_line(tail)}")
    return _completeness(program, asked, seen)


def _completeness(program: Program, asked: Mapping[str, Value], seen: Observation) -> Verdict:
    external = program.external
    must_say_so = external is None or external.success is not None or external.adapter == "jsonl"
    if must_say_so and not seen.said_success:
        return Verdict("incomplete", "exit code 0, but it never said that it was done")
    epochs = program.expected_epochs(dict(asked))
    if epochs is not None and seen.epochs_done < epochs:
        return Verdict("incomplete", f"exit code 0 after {seen.epochs_done} of {epochs} epochs")
    missing = [name for name in program.metrics if name not in seen.metrics]
    if missing:
        return Verdict("metrics_missing", f"exit code 0, but no {', '.join(missing)} in its output")
    if seen.echoed is not None:
        wrong = [name for name, value in asked.items() if not _echoed(program, name, value, seen.echoed)]
        if wrong:
            pairs = ", ".join(f"{name}={seen.echoed.get(name)!r}, asked for {asked[name]!r}" for name in wrong)
            return Verdict("echo_mismatch", f"it trained with other values: {pairs}")
    return Verdict(None)


def _echoed(program: Program, name: str, asked: Value, echoed: Mapping[str, Value]) -> bool:
    """Whether a program said that it uses exactly this value. A foreign one may write 1 for 1.0, or say some values only."""
    if program.external is None:
        return name in echoed and typed(echoed[name]) == typed(asked)
    if name not in echoed:
        return True
    try:
        return typed(program.parameters[name].convert(echoed[name])) == typed(asked)
    except (ValueError, TypeError):
        return False


def _out_of_memory(seen: Observation, tail: str) -> bool:
    return (seen.error is not None and seen.error.kind == "out_of_memory") or bool(OUT_OF_MEMORY.search(tail))


def _last_line(tail: str) -> str:
    lines = [line.strip() for line in tail.splitlines() if line.strip() and not line.startswith("{")]
    return lines[-1][:500] if lines else "it printed nothing"
