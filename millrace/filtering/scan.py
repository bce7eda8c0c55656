"""First pass: what each part of the outcomes has to offer, as a few numbers per failure.

Only the fields that decide are parsed, and of a record only its place is kept: images and explanations are never touched here.
"""

from __future__ import annotations

from array import array
from collections import Counter
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from millrace.filtering.outcome_files import Part, read_records
from millrace.records.outcome import FAILURES, ImagePlace
from millrace.records.selection import UnreadableOutcome
from millrace.run.journal import write_jsonl

NOT_FAILURES = {
    "correct": "not_a_failure",
    "right_abstain": "not_a_failure",
    "infra_error": "infra_error",
    "judge_uncertain": "judge_uncertain",
    "cut_off": "cut_off",
    "filtered": "filtered",
}
"""Every other outcome, and the reason under which it is dropped. An infrastructure error says nothing about the model."""

CANDIDATE = np.dtype(
    [
        ("image", "u8"),  # hash of the image: failures of one image are drawn together
        ("draw", "u8"),  # hash of (seed, outcome id): the record's fixed random number
        ("failure", "u4"),  # index into Scan.failures
        ("file", "u4"),  # index into Scan.lake_files
        ("row", "u4"),
        ("length", "u4"),
        ("offset", "u8"),
    ]
)
"""One failure: 40 bytes, whatever the size of its record."""


class Scan(msgspec.Struct):
    """What one part holds."""

    part: Part
    seen: int
    """Outcomes, readable or not: what the funnel starts from."""
    other: int
    """Lines that are no outcomes (the probing's own dropped items)."""
    dropped: dict[str, int]
    """Outcomes that are no candidates, by reason."""
    failures: list[str]
    lake_files: list[str]
    candidates: NDArray[Any]
    """Of dtype `CANDIDATE`, in file order."""
    first_offset: dict[str, int]
    """Failure id → where it first appears, for messages."""


class _Outcome(msgspec.Struct):
    """The fields the first pass needs. `image` is decoded only for failures."""

    id: str = ""
    kind: str = "outcome"
    outcome: str = ""
    failure_id: str | None = None
    image: msgspec.Raw = msgspec.Raw(b"null")


def scan_part(part: Part, seed: int, quarantine: Path | None = None) -> Scan:
    """Read one part and note every failure in it.

    Args:
        part: from `plan_parts`.
        seed: decides, with each record's id, its random number in the draw.
        quarantine: a file for the records that can't be read, with offset and reason; written only if there are any.
    """
    decode = msgspec.json.Decoder(_Outcome).decode
    decode_image = msgspec.json.Decoder(ImagePlace).decode
    seed_key = str(seed).encode()
    failures: dict[str, int] = {}
    files: dict[str, int] = {}
    first: dict[str, int] = {}
    dropped: Counter[str] = Counter()
    bad: list[UnreadableOutcome] = []
    columns = {name: array("Q") for name in CANDIDATE.names or ()}
    add = [columns[name].append for name in CANDIDATE.names or ()]
    seen = other = 0
    for offset, raw in read_records(part):
        seen += 1
        try:
            record = decode(raw)
            if record.kind != "outcome":
                other += 1
                continue
            if record.outcome not in FAILURES:
                dropped[NOT_FAILURES[record.outcome]] += 1
                continue
            failure_id = record.failure_id
            if not failure_id or not record.id:
                raise msgspec.ValidationError(f"a failure without {'failure_id' if record.id else 'id'}")
            image = decode_image(record.image)
        except (msgspec.DecodeError, KeyError, UnicodeDecodeError) as error:
            dropped["bad_record"] += 1
            reason, detail = _reason(error)
            start = raw[:120].decode("utf-8", "replace")
            bad.append(
                UnreadableOutcome(file=part.path, offset=offset, length=len(raw), reason=reason, detail=detail, start=start)
            )
            continue
        first.setdefault(failure_id, offset)
        row = (
            image_hash(image.sha256 or f"{image.file}\0{image.row}\0{image.image_id}"),
            draw_of(seed_key, record.id),
            failures.setdefault(failure_id, len(failures)),
            files.setdefault(image.file, len(files)),
            image.row,
            len(raw),
            offset,
        )
        for append, value in zip(add, row, strict=True):
            append(value)
    if bad and quarantine is not None:
        write_jsonl(quarantine, bad)
    candidates = np.empty(len(columns["offset"]), CANDIDATE)
    for name, values in columns.items():
        candidates[name] = np.frombuffer(values, np.uint64) if len(values) else 0
    return Scan(part, seen - other, other, dict(dropped), list(failures), list(files), candidates, first)


def draw_of(seed_key: bytes, outcome_id: str) -> int:
    """A record's random number: 64 bits that depend on the seed and on its id and on nothing else.

    BLAKE2 and not `identity.fraction_for`, for this runs once per failure among millions of records.
    """
    return int.from_bytes(blake2b(outcome_id.encode(), digest_size=8, key=seed_key).digest(), "big")


def image_hash(name: str) -> int:
    """64 bits for an image's content hash (or its place, when it has none)."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")


def _reason(error: Exception) -> tuple[Literal["not_an_outcome", "not_json"], str]:
    if isinstance(error, msgspec.ValidationError):
        return "not_an_outcome", str(error)
    if isinstance(error, KeyError):
        return "not_an_outcome", f"unknown outcome '{error.args[0]}'"
    return "not_json", str(error)
