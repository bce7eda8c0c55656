"""A training set in a trainer's own format: the protocol. One file in this folder is one format.

A plug-in is a module with `FILE`, the name of the file that it writes, and `write(records, images, path)`; images are named
relative to the folder `images`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, cast

from millrace.plugins.loading import load_plugin
from millrace.records.improve import TrainingRecord

PACKAGE = "millrace.improve.formats"

ABSTAIN = "NOT RELATED"
"""What is right to say where a claim does not apply."""


class Plugin(Protocol):
    """What a module in this folder has."""

    FILE: str

    def write(self, records: Iterable[TrainingRecord], images: Path, path: Path) -> None:
        """Write all records into one file, all or nothing."""
        ...


def open_format(name: str) -> Plugin:
    """The plug-in.

    Raises:
        UsageError: there is none of this name.
    """
    return cast("Plugin", load_plugin(PACKAGE, name, "format"))


def question(record: TrainingRecord) -> str:
    """The claim as it is put to a chat model."""
    return f"{record.claim}\nFill in every gap in square brackets. If that cannot be said of the picture, answer {ABSTAIN}."


def answer(record: TrainingRecord) -> str:
    """The sentence with its gaps filled, or that it does not apply."""
    if not record.answerable:
        return ABSTAIN
    text = record.claim
    for slot, value in record.correct.items():
        text = text.replace(f"[{slot}]", value)
    return text
