"""What reading, verifying and converting checkpoints hands on: damage that was found, seals, conversions, readers' times."""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import UNSET, UnsetType

from millrace.records.record import Record
from millrace.records.summaries import StageSummary


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


class ReadSummary(StageSummary, frozen=True, kw_only=True):
    """`read/summary.json`. Source: `millrace.checkpoint.metrics`, which says what each figure is."""

    SCHEMA: ClassVar[str] = "millrace.checkpoint-read/1"

    payload_bytes: int
    read_bytes: int
    items: int
    fast_items: int
    staged_items: int
    stock_items: int
    byte_items: int
    skipped: dict[str, str]
    """Value → why it was left as it was."""
    stock_reasons: dict[str, int]
    """Why items took torch's own path → how many."""
    threads: int
    seconds: float
    """Of the load; in the file that of the whole stage. This and all ending in `_s` are wall time."""
    metadata_s: float
    plan_s: float
    check_s: float
    read_s: float
    resolve_s: float
    copy_s: float
    """Summed over the threads."""
    cold_files: int
    gb_per_s: float
    """1 GB is 10⁹ bytes."""
    work_seconds: float | UnsetType = UNSET
    """The part of the stage in which something was read. Source: the run's timeline."""


class VerifySummary(StageSummary, frozen=True, kw_only=True):
    """`verify/summary.json`: of a checkpoint without damage. Source: the reports of its files."""

    SCHEMA: ClassVar[str] = "millrace.checkpoint-verify/1"

    files: int
    items: int
    bytes: int
    unsummed: int
    """Items whose file holds no sum of their bytes."""
    foreign: dict[str, str]
    """Value that was not looked into → why."""
    seal: str | None
    """The seal's path; None: none was asked for."""
    seconds: float | UnsetType = UNSET
    """Wall time of the attempt that did the stage. Source: the run's timeline, when the stage is done."""
    work_seconds: float | UnsetType = UNSET
    """The part of it in which at least one file was worked on."""


class ConvertSummary(StageSummary, frozen=True, kw_only=True):
    """`convert/summary.json`: a `Conversion`, and where it is."""

    SCHEMA: ClassVar[str] = "millrace.checkpoint-convert/1"

    tensors: int
    bytes: int
    files: int
    dropped: list[str]
    to: str
    seconds: float | UnsetType = UNSET
    """Wall time of the attempt that did the stage. Source: the run's timeline, when the stage is done."""
    work_seconds: float | UnsetType = UNSET
    """The part of it in which something was converted."""


class ReadersSummary(StageSummary, frozen=True, kw_only=True):
    """`compare/summary.json` of `flows.checkpoint`: the readers side by side."""

    SCHEMA: ClassVar[str] = "millrace.checkpoint-readers/1"

    readers: list[ReaderTime]
    seconds: float | UnsetType = UNSET
    """Wall time of the attempt that did the stage. Source: the run's timeline, when the stage is done."""
    work_seconds: float | UnsetType = UNSET
    """The part of it in which a reader had its turn."""
