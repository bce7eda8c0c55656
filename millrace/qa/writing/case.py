"""One failure as the question stage sees it: the selection record, its image, and what can be asked of it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import msgspec

from millrace.errors import ItemFailed
from millrace.lake.annotations import ANY
from millrace.lake.reader import LakeReader
from millrace.lake.rows import LakeRow
from millrace.qa.annotated import QuestionRules, Reading, question_rules
from millrace.qa.writing.answer_vocabulary import LADDERS, NONE, nearest_rung, rung_percent
from millrace.qa.writing.pipelines import load_pipelines
from millrace.records.lake import ImageRef
from millrace.records.selection import Selection, Source
from millrace.run.ids import random_for
from millrace.run.journal import read_records


class Case(msgspec.Struct):
    """A failure and its image."""

    record: Selection
    """As the filtering wrote it."""
    row: LakeRow
    annotation: str = ANY
    """The kind of annotation that its lake is said to have."""

    @property
    def id(self) -> str:
        """The selection record's id."""
        return str(self.record.id)

    @property
    def pipeline(self) -> str:
        """The key of the question pipeline."""
        return self.record.pipeline_type


class Choice(msgspec.Struct, frozen=True):
    """The reading that is asked about, and the baseline's own answer to it."""

    reading: Reading
    right: str
    """The right value that the question is built on."""
    baseline: str | None
    """The value that the baseline gave; None when it gave none of the aspect's."""


def read_cases(shard: Path, lake: Path | None, annotation: str = ANY) -> Iterator[Case | tuple[Selection, ItemFailed]]:
    """The failures of a selection shard with their images; a record whose image is gone comes with the reason.

    Args:
        shard: JSON lines, as the filtering writes them.
        lake: the folder that image references are relative to; None only when every record embeds its image.
        annotation: the kind of annotation that the images have (`millrace.lake.annotations`).
    """
    reader = LakeReader(lake, annotation) if lake is not None else None
    for record in read_records(shard, Selection):
        try:
            yield Case(record, row_of_source(record.source, str(record.id), reader), annotation)
        except ItemFailed as failure:
            yield record, failure


def row_of_source(source: Source, record: str, reader: LakeReader | None) -> LakeRow:
    """The lake row of the image of a record (a selection or a question), or its embedded image when there is no lake.

    Args:
        source: the image.
        record: the record's id, for the message.
        reader: of the lake; None when there is none.

    Raises:
        ItemFailed: the image is gone, unusable or another one than was recorded.
    """
    ref = ImageRef(source.name, source.image_path or "", source.row or 0, source.sha256 or "")
    if reader is not None and ref.file:
        return reader.read(ref)
    if source.jpg:
        return LakeRow(ref, base64.b64decode(source.jpg), None, None, {})
    raise ItemFailed("missing_file", f"record {record} has neither a place in a lake nor an embedded image")


def choices_for(case: Case, seed: int) -> list[Choice]:
    """What can be asked about a failure, best first: the aspect that the baseline got wrong comes before others.

    Raises:
        ItemFailed: nothing can be asked; the reason says why.
    """
    pipelines = load_pipelines(case.annotation)
    if case.pipeline not in pipelines:
        raise ItemFailed("unknown_pipeline", f"there is no question pipeline '{case.pipeline}'")
    if not pipelines[case.pipeline].slots:
        raise ItemFailed("not_computable", f"no annotation can answer what the pipeline '{case.pipeline}' asks")
    rules = question_rules(case.row)
    if rules is None:
        raise ItemFailed("no_annotation", "the image has no annotation to compute an answer from")
    try:
        offered = rules.readings(case.pipeline, case.row, case.record.subject)
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
    origin = case.record.origin
    if origin.outcome == "wrong_abstain":
        return NONE if NONE in reading.wrong else "0" if "0" in reading.wrong else None
    said = origin.said
    for slot, aspect in load_pipelines(case.annotation)[case.pipeline].slots.items():
        if aspect == reading.aspect and slot in said:
            value = _fitted(rules.read_value(aspect, said[slot]), reading)
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
