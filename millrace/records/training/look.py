"""What a look at a foreign training's output found out about its lines."""

from __future__ import annotations

from typing import ClassVar, Literal

from millrace.records.record import Record


class TrainingLook(Record, frozen=True, kw_only=True):
    """How a measured command is read: `training/look.json`. The same for all of its runs, and after a crash."""

    SCHEMA: ClassVar[str] = "millrace.training-look/1"

    command: list[str]
    """Program and arguments that were looked at."""
    unit: Literal["epoch", "line", "nothing"]
    """What is counted: epochs, or lines of one form; nothing: no line comes again, so whole runs are compared."""
    epoch: str | None
    """Pattern of the line that ends one; None: there is none."""
    ready: str | None
    """Pattern of the line with which training begins; None: the epochs say it."""
    metrics: dict[str, str]
    """Pattern by metric."""
    line: str
    """The last line that the pattern fits, as it was printed."""
    values: dict[str, float]
    """The metrics' last values, as they were read."""
    seen: int
    """So many epochs, or lines of that form, were seen."""
    every_s: float | None
    """The time between two of them, the median, in seconds; None: there were not two."""
    of: int | None
    """How many epochs there will be, where the lines say so; None: they do not."""
    ended: Literal["by itself", "enough was seen", "look_s was over"]
    """How the look ended."""
