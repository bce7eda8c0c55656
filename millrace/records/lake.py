"""Where images lie."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from millrace.records.record import Record


class ImageRef(msgspec.Struct, frozen=True):
    """Where one image lies: enough to find it again, and to notice that it is no longer the same."""

    image_id: str
    """The column `image_id`; without one the file name in a path column; without that `{parquet file}_{row}`."""
    file: str
    """The parquet file, relative to the lake's folder when it is inside."""
    row: int
    """Row in that file, from 0."""
    sha256: str
    """16 hex digits over the stored bytes; "" when there are none."""

    @property
    def key(self) -> str:
        """What tells images apart: their content, or their name where that is not known."""
        return self.sha256 or self.image_id


class RejectedImage(Record, frozen=True, kw_only=True):
    """A line of an imported lake's `rejected.jsonl`: a picture that is not in the lake."""

    SCHEMA: ClassVar[str] = "millrace.rejected_image/1"
    schema: Literal["millrace.rejected_image/1"] = "millrace.rejected_image/1"

    name: str
    """Its path in the source, with the archive's or table's name in front of it."""
    reason: str
    """A key of `millrace.lake.images.REASONS`, or `damaged_archive`, `same_file`, `copy`."""
    detail: str
    """A sentence."""


class ImportSummary(Record, frozen=True, kw_only=True):
    """`import.json` of an imported lake: counts by `millrace lake import`."""

    SCHEMA: ClassVar[str] = "millrace.import/1"
    schema: Literal["millrace.import/1"] = "millrace.import/1"

    images: int
    """In the lake."""
    files: int
    """Parquet files."""
    copies: int
    """Pictures that have near copies among those that were found, themselves counted."""
    copy_groups: int
    """Groups of such pictures."""
    same_file: int
    """Pictures left out because the very same bytes came before."""
    rejected: dict[str, int]
    """Reason → how many were left out."""
    left_aside: dict[str, int]
    """Ending → files that are no pictures by their names."""
