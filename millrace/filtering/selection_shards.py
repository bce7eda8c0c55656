"""Second pass: fetch the chosen records from where they lie and write them as selection records with their whole lineage."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import orjson

from millrace.errors import InputError, ItemFailed
from millrace.filtering.outcome_files import BOM, read_at
from millrace.filtering.routing import Routes
from millrace.filtering.selection import ShardPlan
from millrace.run.ids import content_id
from millrace.run.journal import read_jsonl, write_jsonl

SCHEMA = "millrace.selection/1"

OPEN_FILES = 64
"""Input files held open at a time while a shard is fetched."""

FetchImage = Callable[[dict[str, Any]], bytes]
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
        lost = Counter(record["reason"] for record in read_jsonl(rejected)) if rejected.exists() else Counter[str]()
        return ShardReport(str(out), len(plan.entries) - lost.total(), dict(lost))
    records: list[dict[str, Any]] = []
    losses: list[dict[str, Any]] = []
    raws = _fetch(plan.entries)
    for number, (entry, raw) in enumerate(zip(plan.entries, raws, strict=True)):
        outcome = orjson.loads(raw)
        try:
            image = None if fetch_image is None else fetch_image(outcome["image"])
        except ItemFailed as error:
            reason = {"reason": error.reason, "detail": error.detail}
            losses.append({"id": outcome["id"], "file": entry[0], "offset": entry[1], **reason})
            continue
        records.append(selection_record(outcome, sample_index=plan.first + number, routes=routes, image=image))
    if losses:
        write_jsonl(rejected, losses)
    write_jsonl(out, records)
    return ShardReport(str(out), len(records), dict(Counter(loss["reason"] for loss in losses)))


def write_selection(plan: ShardPlan, out: Path, routes: Routes, lake: Path | None = None) -> ShardReport:
    """`write_shard`; a `lake` (a folder of images) puts its images into the records."""
    return write_shard(plan, out, routes, fetch_image=None if lake is None else images_of(lake))


def selection_record(outcome: dict[str, Any], *, sample_index: int, routes: Routes, image: bytes | None = None) -> dict[str, Any]:
    """One failure as the question stage takes it: the original's fields, and the lineage that the original threw away."""
    route = routes.by_failure[outcome["failure_id"]]
    picture = outcome["image"]
    source: dict[str, Any] = {
        "id": picture["image_id"],
        "original_id": picture["image_id"],
        "image_path": picture.get("file"),
        "row": picture.get("row"),
        "sha256": picture.get("sha256"),
    }
    source |= {name: picture[name] for name in ("width", "height") if name in picture}
    if image is not None:
        source["jpg"] = base64.b64encode(image).decode()
    prefill: dict[str, Any] = {"claim": outcome.get("claim", "")}
    if outcome.get("prefilled"):
        prefill["prefilled_values"] = {name.upper(): value for name, value in outcome["prefilled"].items()}
    judge = outcome.get("judge") or {}
    return {
        "id": content_id("sel", outcome["id"], route.pipeline_type, length=16),
        "schema": SCHEMA,
        "sample_index": sample_index,
        "source_a": source,
        "prefill": prefill,
        "pipeline_type": route.pipeline_type,
        "pipeline_name": route.pipeline_name,
        "failure_id": outcome["failure_id"],
        "claim_id": outcome.get("claim_id"),
        "selectors": outcome.get("selectors") or {},
        "answerable": outcome.get("answerable"),
        "lineage": {
            "outcome_id": outcome["id"],
            "outcome": outcome["outcome"],
            "claim_set": outcome.get("claim_set"),
            "baseline": outcome.get("baseline"),
            "correct": judge.get("correct") or {},
            "accepted": judge.get("accepted") or {},
            "factors": outcome.get("factors") or [],
            "judge": {"by": judge.get("by"), "kind": judge.get("kind"), "explanation": judge.get("explanation")},
        },
    }


def images_of(lake: Path) -> FetchImage:
    """A way to the images of a lake, for `write_shard`."""
    from millrace.lake.reader import read_row  # pyarrow: only for those who embed images
    from millrace.lake.rows import ImageRef

    def fetch(image: dict[str, Any]) -> bytes:
        ref = ImageRef(image["image_id"], image.get("file", ""), image.get("row", 0), image.get("sha256") or "")
        return read_row(lake, ref).image_bytes

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
