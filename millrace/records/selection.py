"""What filtering leaves: selected failures, each with its route to a question pipeline, and what could not be used."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from millrace.errors import ItemFailed
from millrace.records.outcome import BaselineAnswer, JudgeNote, Selector
from millrace.records.record import Record


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The image of a failure, under the original project's names. Source: the outcome. An original's may lack any field."""

    id: str | int | UnsetType | None = UNSET
    """The image's id."""
    original_id: str | int | UnsetType | None = UNSET
    image_path: str | UnsetType | None = UNSET
    """The parquet file, relative to the lake's folder when it is inside."""
    row: int | UnsetType | None = UNSET
    sha256: str | UnsetType | None = UNSET
    """16 hex digits over the stored bytes."""
    width: int | UnsetType | None = UNSET
    height: int | UnsetType | None = UNSET
    """In pixels."""
    jpg: str | UnsetType = UNSET
    """The stored bytes in base64, where `embed_images` is set."""

    @property
    def name(self) -> str:
        """The image's id as text; "" where there is none."""
        return str(self.id or self.original_id or "")


class Prefill(msgspec.Struct, frozen=True, kw_only=True):
    """The claim that failed. Source: the outcome."""

    claim: str = ""
    """The sentence with its subject filled in."""
    prefilled_values: dict[str, str] | UnsetType = UNSET
    """By slot in capitals: the subject in words."""


class SelectionLineage(msgspec.Struct, frozen=True, kw_only=True):
    """Where a selected failure came from. Source: the outcome; the original project threw it away."""

    outcome_id: str | None = None
    outcome: str | None = None
    """One of `Outcome`."""
    claim_set: str | None = None
    """The set's SHA-256."""
    baseline: BaselineAnswer | None = None
    correct: dict[str, str] = {}
    accepted: dict[str, tuple[str, ...]] = {}
    factors: tuple[str, ...] = ()
    judge: JudgeNote = JudgeNote()

    @property
    def said(self) -> dict[str, str]:
        """What the model under test said, by slot."""
        return self.baseline.said if self.baseline is not None else {}


class Selection(Record, frozen=True, kw_only=True):
    """One selected failure: a line of `filtering/shard-*.jsonl`. Source: filtering; the original project's own can be read."""

    SCHEMA: ClassVar[str] = "millrace.selection/1"

    id: str | int = ""
    """A hash of the outcome's id and the pipeline; a number in the original's."""
    schema: Literal["millrace.selection/1"] = "millrace.selection/1"
    sample_index: int | None = None
    """Its place in the whole selection."""
    source_a: Source | None = None
    prefill: Prefill | None = None
    pipeline_type: str
    """Key of the question pipeline."""
    pipeline_name: str = ""
    """The same for people."""
    failure_id: str | None = None
    claim_id: str | None = None
    selectors: dict[str, Selector | str | int | float | bool] | None = None
    """By slot: which things of the picture the claim is about. What is no mapping comes from elsewhere, and is refused later."""
    answerable: bool | None = None
    """False: the claim was about something that is not there."""
    lineage: SelectionLineage | None = None

    @property
    def subject(self) -> dict[str, Selector]:
        """The selectors; none where it names none.

        Raises:
            ItemFailed: they are no selectors ("unreadable_record").
        """
        found = {slot: selector for slot, selector in (self.selectors or {}).items() if isinstance(selector, dict)}
        if len(found) < len(self.selectors or {}):
            raise ItemFailed("unreadable_record", f"its selectors {self.selectors} do not say what is meant")
        return found

    @property
    def claim(self) -> str:
        """The sentence that failed."""
        return self.prefill.claim if self.prefill is not None else ""

    @property
    def source(self) -> Source:
        """The image."""
        return self.source_a or Source()

    @property
    def origin(self) -> SelectionLineage:
        """The lineage; empty in the original's."""
        return self.lineage or SelectionLineage()


class LostSelection(Record, frozen=True, kw_only=True):
    """A chosen failure whose image is gone: a line of `filtering/rejected/`. Source: filtering with `embed_images`."""

    SCHEMA: ClassVar[str] = "millrace.lost_selection/1"

    id: str
    """The outcome's."""
    file: str
    """The file of outcomes."""
    offset: int
    """Where the outcome starts in it, in bytes."""
    reason: str
    """A key of `millrace.lake.images.REASONS`."""
    detail: str


class UnreadableOutcome(Record, frozen=True, kw_only=True):
    """What stands in a file of outcomes and is none: a line of `filtering/quarantine/`. Source: filtering."""

    SCHEMA: ClassVar[str] = "millrace.unreadable_outcome/1"

    file: str
    offset: int
    """Where it starts, in bytes."""
    length: int
    """In bytes."""
    reason: Literal["not_an_outcome", "not_json"]
    detail: str
    start: str
    """Its first 120 bytes."""
