"""Exports of questions: every question is in a file, the statuses in files of their own, the same bytes each time."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from millrace.plugins.contracts import completed
from millrace.plugins.loading import load_plugin
from millrace.qa.exports import Export
from millrace.testing.kinds import kept
from millrace.testing.material import image_of, questions

FOLDER = "millrace.qa.exports"
WORD = "export"

PLACES = (("verified", "train"), ("verified", "heldout"), ("judged", "train"), ("unverified", "train"))


@contextlib.contextmanager
def opened(name: str, settings: Mapping[str, Any]) -> Iterator[ModuleType]:
    """The module; an export has no settings."""
    del settings
    yield load_plugin(FOLDER, name, WORD)


def _written(module: ModuleType) -> tuple[dict[str, bytes], dict[str, list[str]]]:
    """The files that it writes by name, and the questions put into it by status."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        export: Export = completed(module.open_export(folder), Export, f"the export {module.__name__}")
        put: dict[str, list[str]] = {}
        for number, item in enumerate(questions().items):
            status, split = PLACES[number % len(PLACES)]
            export.add(item, image_of(item), status, split)
            put.setdefault(status, []).append(item["id"])
        export.close()
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}, put


def it_writes_files_into_its_folder(module: ModuleType) -> None:
    """Whatever their form."""
    files, _ = _written(module)
    kept(any(files.values()), "nothing was written: are the files closed, and in the folder that it was given?")


def the_same_questions_give_the_same_bytes(module: ModuleType) -> None:
    """No times, no paths of this machine."""
    first, again = _written(module)[0], _written(module)[0]
    differ = sorted(name for name in first.keys() | again.keys() if first.get(name) != again.get(name))
    kept(not differ, f"written twice, {', '.join(differ)} differ")


def each_status_has_files_of_its_own(module: ModuleType) -> None:
    """What a program verified is never mixed with what a model judged. Looked for by the ids, in files that hold any."""
    files, put = _written(module)
    for name, content in files.items():
        held = [status for status, ids in put.items() if any(one.encode() in content for one in ids)]
        kept(len(held) <= 1, f"{name} holds questions that are {' and '.join(held)}")


def a_run_without_questions_can_be_exported(module: ModuleType) -> None:
    """Nothing to add is no error."""
    with tempfile.TemporaryDirectory() as folder:
        module.open_export(Path(folder)).close()


PROMISES = (
    it_writes_files_into_its_folder,
    the_same_questions_give_the_same_bytes,
    each_status_has_files_of_its_own,
    a_run_without_questions_can_be_exported,
)
