"""Second pass: fetch the chosen records from where they lie and write them as selection records with their whole lineage."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import UNSET

from millrace.errors import InputError, ItemFailed
from millrace.filtering.outcome_files import BOM, read_at
from millrace.filtering.routing import Routes
from millrace.filtering.selection import ShardPlan
from millrace.records.lake import ImageRef
from millrace.records.outcome import ForeignOutcome, ImagePlace, Judgement, JudgeNote, OutcomeRecord
from millrace.records.record import decoder
from millrace.records.selection import LostSelection, Prefill, Selection, SelectionLineage, Source
from millrace.run.ids import content_id
from millrace.run.journal import read_records, write_jsonl

OPEN_FILES = 64
"""Input files held open at a time while a shard is fetched."""

FetchImage = Callable[[ImagePlace], bytes]
"""Gives the stored bytes of an outcome's `image` reference; raises `ItemFailed` when it can't."""


class ShardReport(msgspec.Struct):
    """What became of one output shard."""

    path: str
    kept: int
    dropped: dict[str, int]


def write_shard(plan: ShardPlan, out: Path, routes: Routes, *, fetch_image: FetchImage | None = None) -> ShardReport:
    """Write one shard of the selection, all or nothing. A shard that is already there is left alone and only counted.

    Args:
        plan: from `select_failures`.
        out: the file; what could not be written stands beside it in `rejected/`.
        routes: the table that the selection was made with.
        fetch_image: puts the image into the record (`embed_images`); None keeps the reference only.
    """
    rejected = out.parent / "rejected" / out.name
    if out.exists():
        lost = Counter(record.reason for record in read_records(rejected, LostSelection)) if rejected.exists() else Counter[str]()
        return ShardReport(str(out), len(plan.entries) - lost.total(), dict(lost))
    records: list[Selection] = []
    losses: list[LostSelection] = []
    raws = _fetch(plan.entries)
    for number, (entry, raw) in enumerate(zip(plan.entries, raws, strict=True)):
        name = ""
        try:
            outcome = _outcome(raw)
            name = outcome.id
            image = None if fetch_image is None else fetch_image(outcome.image)
        except ItemFailed as error:
            losses.append(LostSelection(id=name, file=entry[0], offset=entry[1], reason=error.reason, detail=error.detail))
            continue
        records.append(selection_record(outcome, sample_index=plan.first + number, routes=routes, image=image))
    if losses:
        write_jsonl(rejected, losses)
    write_jsonl(out, records)
    return ShardReport(str(out), len(records), dict(Counter(loss.reason for loss in losses)))


def write_selection(plan: ShardPlan, out: Path, routes: Routes, lake: Path | None = None) -> ShardReport:
    """`write_shard`; a `lake` (a folder of images) puts its images into the records."""
    return write_shard(plan, out, routes, fetch_image=None if lake is None else images_of(lake))


def selection_record(
    outcome: OutcomeRecord | ForeignOutcome, *, sample_index: int, routes: Routes, image: bytes | None = None
) -> Selection:
    """One failure as the question stage takes it: the original's fields, and the lineage that the original threw away."""
    assert outcome.failure_id is not None, "only failures are selected"
    route = routes.by_failure[outcome.failure_id]
    picture, judge = outcome.image, outcome.judge or Judgement()
    by_elsewhere = isinstance(outcome, ForeignOutcome)
    source = Source(
        id=picture.image_id,
        original_id=picture.image_id,
        image_path=picture.file if picture.file or not by_elsewhere else None,
        row=picture.row if picture.file or not by_elsewhere else None,
        sha256=picture.sha256,
        width=picture.width,
        height=picture.height,
        jpg=UNSET if image is None else base64.b64encode(image).decode(),
    )
    values = {name.upper(): value for name, value in (outcome.prefilled or {}).items()}
    return Selection(
        id=content_id("sel", outcome.id, route.pipeline_type, length=16),
        sample_index=sample_index,
        source_a=source,
        prefill=Prefill(claim=outcome.claim, prefilled_values=values or UNSET),
        pipeline_type=route.pipeline_type,
        pipeline_name=route.pipeline_name,
        failure_id=outcome.failure_id,
        claim_id=outcome.claim_id,
        selectors={**(outcome.selectors or {})},
        answerable=outcome.answerable,
        lineage=SelectionLineage(
            outcome_id=outcome.id,
            outcome=str(outcome.outcome),
            claim_set=outcome.claim_set,
            baseline=outcome.baseline,
            correct=judge.correct,
            accepted=judge.accepted,
            factors=outcome.factors or (),
            judge=JudgeNote(by=judge.by, kind=judge.kind, explanation=judge.explanation),
        ),
    )


def _outcome(raw: bytes) -> ForeignOutcome:
    try:
        return decoder(ForeignOutcome).decode(raw)  # type: ignore[no-any-return]
    except msgspec.DecodeError as error:
        raise ItemFailed("bad_record", str(error)) from error


def images_of(lake: Path) -> FetchImage:
    """A way to the images of a lake, for `write_shard`."""
    from millrace.lake.reader import read_row  # pyarrow: only for those who embed images

    def fetch(image: ImagePlace) -> bytes:
        return read_row(lake, ImageRef(image.image_id, image.file, image.row, image.sha256 or "")).image_bytes

    return fetch


def write_array(shards: Sequence[Path], out: Path) -> int:
    """Join finished shards into one JSON array, a record per line, in constant memory; returns the number of records."""
    count = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.tmp")
    with temporary.open("wb") as file:
        file.write(b"[")
        for shard in shards:
            with shard.open("rb") as lines:
                for line in lines:
                    file.write((b"\n" if count == 0 else b",\n") + line.rstrip(b"\n"))
                    count += 1
        file.write(b"\n]\n")
    temporary.replace(out)
    return count


def _fetch(entries: Sequence[tuple[str, int, int]]) -> list[bytes]:
    """The bytes of all entries, read file by file and front to back, given back in the order of `entries`."""
    raws: list[bytes] = [b""] * len(entries)
    order = sorted(range(len(entries)), key=lambda number: entries[number])
    with ExitStack() as stack:
        held: dict[str, BinaryIO] = {}
        for number in order:
            path, offset, length = entries[number]
            if path not in held:
                if len(held) >= OPEN_FILES:
                    stack.close()
                    held.clear()
                held[path] = stack.enter_context(_opened(path))
            raws[number] = read_at(held[path], offset, length).strip(b", \t\r\n").removeprefix(BOM)
    return raws


def _opened(path: str) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise InputError(f"{path} was there when the outcomes were scanned and cannot be read now: {error}") from error
