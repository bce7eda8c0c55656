"""What is wrong with a checkpoint, collected: one error names every file, tensor and offset that failed.

CheckpointError             the checkpoint can't be read as asked; `problems` lists all of it
└── UntrustedCheckpoint     it asks for code that it has no business asking for; nothing of it was run
"""

from __future__ import annotations

from collections.abc import Sequence

from millrace.errors import InputError
from millrace.records.checkpoint import Problem

SHOWN = 20
"""How many problems a message spells out; all of them are in `problems`."""


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
