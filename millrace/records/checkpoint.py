"""What reading, verifying and converting checkpoints hands on: damage that was found, seals, conversions, readers' times."""

from __future__ import annotations

from typing import ClassVar, Literal

from millrace.records.record import Record


class Problem(Record, frozen=True):
    """One thing that is wrong with a checkpoint, and where. A line of `verify/problems.jsonl`; also inside `CheckpointError`."""

    SCHEMA: ClassVar[str] = "millrace.checkpoint-problem/1"

    what: str
    """A sentence: `ends at byte 4096, item needs bytes 4000 to 5208`."""
    file: str = ""
    """The file's name inside the checkpoint, from its metadata; empty: the checkpoint as a whole."""
    tensor: str = ""
    """The fully qualified name in the state dict, from the metadata; empty: the file as a whole."""
    offset: int | None = None
    """Bytes from the file's start to the saved item, from the metadata; None: not about a place."""

    def __str__(self) -> str:
        at = "" if self.offset is None else f"offset {self.offset}"
        place = ", ".join(part for part in (self.file, f"tensor '{self.tensor}'" if self.tensor else "", at) if part)
        text = f"{place}: {self.what}" if place else self.what
        return text.encode("utf-8", "backslashreplace").decode()  # names of damaged files can't always be printed


class SealFile(Record, frozen=True, kw_only=True):
    """What was true when a checkpoint was sealed: `.millrace-seal.json`, written by `verify` with `seal=true`."""

    SCHEMA: ClassVar[str] = "millrace.seal/1"

    schema: Literal["millrace.seal/1"] = "millrace.seal/1"
    metadata_sha256: str
    """Of `.metadata`, in hexadecimal; empty: there was none (a safetensors folder)."""
    sums: dict[str, dict[str, int]]
    """CRC-32 of each stored tensor's bytes, by file and by the offset of its first byte, in decimal."""


class Conversion(Record, frozen=True, kw_only=True):
    """What `convert` wrote, in the run's summary."""

    SCHEMA: ClassVar[str] = "millrace.checkpoint-conversion/1"

    tensors: int
    bytes: int
    """Of the tensors as they were written, cast."""
    files: int
    """Data files, without indexes and metadata."""
    dropped: list[str]
    """Names of values that the format can't hold."""


class ReaderTime(Record, frozen=True, kw_only=True):
    """How fast one reader loaded a checkpoint, in the summary of `compare`."""

    SCHEMA: ClassVar[str] = "millrace.reader-time/1"

    reader: str
    seconds: float
    """The median of its turns, by the wall clock."""
    gb_per_s: float
    """Bytes of all tensors over the median; 1 GB is 10⁹ bytes."""
    times_stock: float | None
    """The median of torch's own reader over this one's; None: torch's reader had no turn."""
    all: list[float]
    """Seconds of each turn, in their order."""
