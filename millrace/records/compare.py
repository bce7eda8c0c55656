"""What comparing two runs leaves in its journal: each pair of outcomes, and each outcome that has no partner."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from millrace.records.record import Record


class ComparedImage(msgspec.Struct, frozen=True):
    """Where an image is. Source: the first run's outcome."""

    image_id: str
    file: str
    row: int
    sha256: str
    """16 hex digits over the stored bytes: what makes it the same image in two runs."""


class PairRecord(Record, frozen=True, kw_only=True):
    """One claim about one subject on one image, as two models answered it."""

    SCHEMA: ClassVar[str] = "millrace.pair/1"
    schema: Literal["millrace.pair/1"] = "millrace.pair/1"
    id: str
    image: ComparedImage
    claim_id: str
    before: str
    """The outcome of the first model."""
    after: str
    """The outcome of the second."""
    before_id: str
    after_id: str
    """Ids of the two outcome records."""
    factors: tuple[str, ...]
    flip: Literal["better", "worse"] | None
    """`better`: failed before and not after; `worse`: the reverse; None: failed both times or neither."""


class LeftOutRecord(Record, frozen=True, kw_only=True):
    """An outcome, or a pair of them, from which no figure was made."""

    SCHEMA: ClassVar[str] = "millrace.left_out/1"
    schema: Literal["millrace.left_out/1"] = "millrace.left_out/1"
    id: str
    image: ComparedImage
    claim_id: str
    reason: str
    """Why, as counted in `left_out` of the summary."""
    before: str | None
    after: str | None
    """The outcomes; None: not asked there."""
