"""What is wrong with a checkpoint, collected: one error names every file, tensor and offset that failed.

CheckpointError             the checkpoint can't be read as asked; `problems` lists all of it
└── UntrustedCheckpoint     it asks for code that it has no business asking for; nothing of it was run
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from millrace.errors import InputError

SHOWN = 20
"""How many problems a message spells out; all of them are in `problems`."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and where."""

    what: str
    """A sentence: `ends at byte 4096, item needs bytes 4000 to 5208`."""
    file: str = ""
    """The file's name inside the checkpoint; empty: the checkpoint as a whole."""
    tensor: str = ""
    """The fully qualified name in the state dict; empty: the file as a whole."""
    offset: int | None = None
    """Byte offset of the saved item in `file`; None: not about a place."""

    def __str__(self) -> str:
        place = ", ".join(
            part for part in (self.file, f"tensor '{self.tensor}'" if self.tensor else "", _at(self.offset)) if part
        )
        text = f"{place}: {self.what}" if place else self.what
        return text.encode("utf-8", "backslashreplace").decode()  # names of damaged files can't always be printed


class CheckpointError(InputError):
    """A checkpoint can't be read as asked.

    Attributes:
        path: the checkpoint.
        problems: everything found wrong, in the order of files and offsets.
        touched: whether any destination had been written to. False: the state dict is as it was.
    """

    def __init__(self, path: str, problems: Sequence[Problem], touched: bool = False) -> None:
        super().__init__(path, tuple(problems), touched)
        self.path = path
        self.problems = tuple(problems)
        self.touched = touched

    def __str__(self) -> str:
        shown = "\n".join(f"  {problem}" for problem in self.problems[:SHOWN])
        more = f"\n  ... and {len(self.problems) - SHOWN} more" if len(self.problems) > SHOWN else ""
        state = (
            "the state dict is partly overwritten: load it again before use" if self.touched else "the state dict is untouched"
        )
        count = len(self.problems)
        return f"checkpoint {self.path}: {count} problem{'s' * (count != 1)}; {state}\n{shown}{more}"


class UntrustedCheckpoint(CheckpointError):
    """A pickle in the checkpoint asks for something outside the allow-list; it was refused before anything ran."""


def _at(offset: int | None) -> str:
    return "" if offset is None else f"offset {offset}"
