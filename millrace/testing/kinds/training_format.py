"""Formats of training sets: one file with every record in it, the same bytes each time, also of an empty set."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from millrace.improve.formats import Plugin, open_format
from millrace.records.improve import TrainingRecord
from millrace.testing.kinds import kept
from millrace.testing.material import rows

FOLDER = "millrace.improve.formats"
WORD = "format"


@contextlib.contextmanager
def opened(name: str, settings: Mapping[str, Any]) -> Iterator[Plugin]:
    """The module; a format has no settings."""
    del settings
    yield open_format(name)


def training_set(images: Path) -> list[TrainingRecord]:
    """Claims about the photographs, which are laid into `images`; one of them is about nothing that is there."""
    made: list[TrainingRecord] = []
    images.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows()):
        name = f"{row.ref.sha256}.jpg"
        (images / name).write_bytes(row.image_bytes)
        correct = {} if number == 0 else {"THING": f"thing-{number}"}
        made.append(
            TrainingRecord(
                id=f"out_{number}",
                image=name,
                sha256=row.ref.sha256,
                claim_id="naming",
                claim="The largest thing in the picture is a [THING].",
                slots=("THING",),
                answerable=number > 0,
                correct=correct,
                accepted={slot: (value,) for slot, value in correct.items()},
                answers_of=f"out_{number}",
            )
        )
    return made


def _written(form: Plugin, records: Iterable[TrainingRecord], folder: Path) -> bytes:
    path = folder / form.FILE
    form.write(records, folder / "images", path)
    kept(path.is_file(), f"write left nothing at the path that it was given, {form.FILE}")
    left = sorted(other.name for other in folder.iterdir() if other.name not in (form.FILE, "images"))
    kept(not left, f"beside the file there is still {', '.join(left)}")
    return path.read_bytes()


def its_file_has_a_plain_name(form: Plugin) -> None:
    """A name alone, no folder: the run chooses where it goes."""
    kept(form.FILE and Path(form.FILE).name == form.FILE, f"FILE is the name of one file, not {form.FILE!r}")


def every_right_answer_is_in_the_file(form: Plugin) -> None:
    """All records in one file, which is there when `write` returns."""
    with tempfile.TemporaryDirectory() as place:
        records = training_set(Path(place) / "images")
        text = _written(form, iter(records), Path(place))
        for record in records:
            for value in record.correct.values():
                found = value.encode() in text or json.dumps(value).encode() in text
                kept(found, f"the right answer '{value}' of {record.id} is not in {form.FILE}")


def the_same_records_give_the_same_bytes_and_none_are_no_error(form: Plugin) -> None:
    """A resumed run writes the set that it had; nothing may be kept for tuning."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        records = training_set(folder / "images")
        kept(_written(form, records, folder) == _written(form, records, folder), f"written twice, {form.FILE} differs")
        _written(form, [], folder)


PROMISES = (
    its_file_has_a_plain_name,
    every_right_answer_is_in_the_file,
    the_same_records_give_the_same_bytes_and_none_are_no_error,
)
