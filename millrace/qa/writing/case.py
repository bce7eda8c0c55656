"""One failure as the question stage sees it: the selection record, its image, and what can be asked of it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from millrace.errors import ItemFailed
from millrace.lake.reader import LakeReader
from millrace.lake.rows import ImageRef, LakeRow
from millrace.qa.annotated import QuestionRules, Reading, question_rules
from millrace.qa.writing.answer_vocabulary import LADDERS, NONE, nearest_rung, rung_percent
from millrace.qa.writing.pipelines import load_pipelines
from millrace.run.ids import random_for
from millrace.run.journal import read_jsonl


class Case(msgspec.Struct):
    """A failure and its image."""

    record: dict[str, Any]
    """The selection record, as the filtering wrote it."""
    row: LakeRow

    @property
    def id(self) -> str:
        """The selection record's id."""
        name: str = self.record["id"]
        return name

    @property
    def pipeline(self) -> str:
        """The key of the question pipeline."""
        key: str = self.record["pipeline_type"]
        return key


class Choice(msgspec.Struct, frozen=True):
    """The reading that is asked about, and the baseline's own answer to it."""

    reading: Reading
    right: str
    """The right value that the question is built on."""
    baseline: str | None
    """The value that the baseline gave; None when it gave none of the aspect's."""


def read_cases(shard: Path, lake: Path | None) -> Iterator[Case | tuple[dict[str, Any], ItemFailed]]:
    """The failures of a selection shard with their images; a record whose image is gone comes with the reason.

    Args:
        shard: JSON lines, as the filtering writes them.
        lake: the folder that image references are relative to; None only when every record embeds its image.
    """
    reader = LakeReader(lake) if lake is not None else None
    for record in map(whole_record, read_jsonl(shard)):
        try:
            yield Case(record, row_of_record(record, reader))
        except ItemFailed as failure:
            yield record, failure


def whole_record(record: dict[str, Any]) -> dict[str, Any]:
    """A selection record with nothing missing: one of the original's has no lineage, and a number for an id."""
    lineage = {"outcome_id": None, "outcome": None, "baseline": None, **(record.get("lineage") or {})}
    known: dict[str, Any] = {"failure_id": None, "claim_id": None, "selectors": {}, "answerable": None, "sample_index": None}
    prefill = {"claim": "", **(record.get("prefill") or {})}
    return {**known, **record, "id": str(record.get("id", "")), "prefill": prefill, "lineage": lineage}


def row_of_record(record: dict[str, Any], reader: LakeReader | None) -> LakeRow:
    """The lake row of a record (a selection or a question), or its embedded image when there is no lake.

    Raises:
        ItemFailed: the image is gone, unusable or another one than was recorded.
    """
    source = record.get("source_a") or {}
    name = str(source.get("id") or source.get("original_id") or "")
    ref = ImageRef(name, str(source.get("image_path") or ""), int(source.get("row") or 0), source.get("sha256") or "")
    if reader is not None and ref.file:
        return reader.read(ref)
    if source.get("jpg"):
        return LakeRow(ref, base64.b64decode(source["jpg"]), None, None, {})
    raise ItemFailed("missing_file", f"record {record.get('id')} has neither a place in a lake nor an embedded image")


def choices_for(case: Case, seed: int) -> list[Choice]:
    """What can be asked about a failure, best first: the aspect that the baseline got wrong comes before others.

    Raises:
        ItemFailed: nothing can be asked; the reason says why.
    """
    if case.pipeline not in load_pipelines():
        raise ItemFailed("unknown_pipeline", f"there is no question pipeline '{case.pipeline}'")
    if not load_pipelines()[case.pipeline].slots:
        raise ItemFailed("not_computable", f"no annotation can answer what the pipeline '{case.pipeline}' asks")
    rules = question_rules(case.row)
    if rules is None:
        raise ItemFailed("no_annotation", "the image has no annotation to compute an answer from")
    try:
        offered = rules.readings(case.pipeline, case.row, case.record.get("selectors") or {})
    except ItemFailed:
        raise
    except Exception as error:  # a record that makes no sense is a record dropped, not a run ended
        raise ItemFailed("unreadable_record", f"{type(error).__name__}: {error}") from error
    rng = random_for(seed, case.id, "aspect")
    found = []
    for reading in offered:
        right = rng.choice(reading.right)
        found.append((Choice(reading, right, baseline_value(case, reading, rules)), rng.random()))
    return [choice for choice, _ in sorted(found, key=lambda entry: (_preference(entry[0]), entry[1]))]


def baseline_value(case: Case, reading: Reading, rules: QuestionRules) -> str | None:
    """What the baseline answered, as a value of the reading that is certainly wrong; None when it is no such value."""
    lineage = case.record["lineage"]
    if lineage["outcome"] == "wrong_abstain":
        return NONE if NONE in reading.wrong else "0" if "0" in reading.wrong else None
    said = ((lineage.get("baseline") or {}).get("values")) or {}
    for slot, aspect in load_pipelines()[case.pipeline].slots.items():
        if aspect == reading.aspect and slot in said:
            value = _fitted(rules.read_value(aspect, str(said[slot])), reading)
            return value if value in reading.wrong else None
    return None


def _fitted(value: str | None, reading: Reading) -> str | None:
    """The value, brought into the reading's own set: the nearest rung of its ladder, a half with the quarter in it."""
    if value is None or value in reading.wrong or value == NONE:
        return value
    if reading.aspect == "percent":
        return nearest_rung(rung_percent(value), (LADDERS[int(reading.family.split()[-1])],))
    if reading.family == "half":
        return next((half for half in reading.wrong if half.split(maxsplit=1)[0] in value.split()), None)
    return value


def _preference(choice: Choice) -> tuple[bool, bool]:
    """Sort key: what the baseline answered wrongly first, then what has enough wrong values for four options."""
    return choice.baseline is None, not has_options(choice.reading)


def has_options(reading: Reading) -> bool:
    """Whether four options can be made of it, whatever else is asked: three wrong values of its own kind."""
    return sum(value != NONE for value in reading.wrong) >= 3
