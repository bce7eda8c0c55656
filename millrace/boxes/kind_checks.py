"""Kinds of claims about boxes, checked: rule, words and verifier of one name agree on the photographs (`millrace.testing`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import yaml

from millrace.boxes.annotation import picture_of
from millrace.boxes.kinds import Plugin as ClaimKind
from millrace.boxes.question_rules import wordings
from millrace.boxes.verifiers import Checks, read_option
from millrace.boxes.verifiers._pixels import draw
from millrace.config import configs_folder
from millrace.lake.parquet import stream_rows
from millrace.lake.rows import LakeRow
from millrace.plugins.loading import load_plugin, plugin_files, plugin_names

FOLDER = "millrace.boxes.kinds"
WORD = "kind of claim"


class Opened(NamedTuple):
    """A kind with its two companions."""

    name: str
    kind: ClaimKind
    checks: Mapping[str, Checks]
    words: Mapping[str, Any]
    rows: list[LakeRow]


@contextlib.contextmanager
def opened(name: str, settings: Mapping[str, Any]) -> Iterator[Opened]:
    """The kind, and the wordings and the verifier of its name; `settings`: `lake`, a folder of pictures with boxes."""
    kind: Any = load_plugin(FOLDER, name, WORD)
    companion = next(
        (short for short in plugin_names(FOLDER) if load_plugin(FOLDER, short, WORD) is kind), name.rpartition(".")[2]
    )
    checks = load_plugin("millrace.boxes.verifiers", companion, "verifier").CHECKS
    words = plugin_files("millrace.boxes.wordings", "yaml")
    if companion not in words:
        raise AssertionError(f"there are no wordings {companion}.yaml in the folder or among the entry points of wordings")
    said = yaml.safe_load(words[companion].read_text(encoding="utf-8"))
    lake = Path(settings.get("lake", configs_folder() / "full" / "photographs"))
    rows = [row for file in sorted(lake.glob("*.parquet")) for row in stream_rows(file) if isinstance(row, LakeRow)]
    yield Opened(companion, kind, checks, said, rows)


class _Clear(NamedTuple):
    row: LakeRow
    selectors: dict[str, Any]
    truth: Any


def _clear(subject: Opened) -> list[_Clear]:
    """Subjects with a clear answer on every picture, answerable ones and others."""
    found: list[_Clear] = []
    for row in subject.rows:
        picture = picture_of(row)
        for answerable in (True, False):
            tried = islice(subject.kind.subjects(picture, Random(1), answerable=answerable), 60)
            truths = ((selectors, subject.kind.truth(picture, selectors)) for selectors in tried)
            clear = (_Clear(row, *one) for one in truths if one[1].clear and one[1].answerable == answerable)
            found += islice(clear, 4)
    return found


def it_has_something_to_ask_on_some_picture(subject: Opened) -> None:
    """A subject with a clear answer."""
    if not _clear(subject):
        raise AssertionError("no picture offers it a subject with a clear answer")


def its_right_answers_can_be_read_and_its_distractors_are_others(subject: Opened) -> None:
    """`readings` gives right values and certainly wrong ones, `read_value` reads them."""
    for one in _clear(subject):
        readings = subject.kind.readings(picture_of(one.row), one.selectors, one.truth, Random(2))
        for reading in readings:
            both = set(reading.right) & set(reading.wrong)
            assert not both, f"{sorted(both)} is right and wrong at once on {one.row.ref.image_id}"
        for value in one.truth.accepted.get(subject.kind.SLOT, ()):
            assert subject.kind.read_value(value) is not None, f"the right answer '{value}' cannot be read"


def its_words_are_there_for_every_question_that_it_has(subject: Opened) -> None:
    """Questions of at least one form, and an explanation."""
    for language in (key for key in subject.words if key != "pipelines"):
        said = subject.words[language]
        aspects = set(said.get("questions", {}))
        assert subject.kind.ASPECT in aspects, f"{language}: there are no questions about '{subject.kind.ASPECT}'"
        assert subject.kind.ASPECT in said.get("explanations", {}), f"{language}: '{subject.kind.ASPECT}' has no explanation"


def its_verifier_agrees_on_every_picture(subject: Opened) -> None:
    """Of the options as they are worded, a right one holds or is too near to call, and a wrong one never holds."""
    said, decided = wordings("en"), 0
    assert said is not None
    for one in _clear(subject):
        if not one.truth.answerable:
            continue
        evidence, about = draw(one.row), f"on {one.row.ref.image_id}"
        for reading in subject.kind.readings(picture_of(one.row), one.selectors, one.truth, Random(2)):
            checks = subject.checks.get(reading.aspect)
            assert checks is not None, f"CHECKS has nothing for '{reading.aspect}'"
            options = said.templates(reading.aspect, "multiple_choice")
            for value in (*reading.right, *reading.wrong):
                text = said.option(reading.aspect, value) if options else said.name(reading.aspect, value)
                read = read_option(checks, text)
                assert read is not None or not options, f"the verifier cannot read the option '{text}'"
                if read is not None:
                    held, right = checks.holds(evidence, one.selectors, read), value in reading.right
                    assert held is None or held is right, f"the verifier calls '{value}' {held} {about}, the rule {right}"
                    decided += held is True
    assert decided, "the verifier confirms no right answer at all: nothing would be verified"


PROMISES = (
    it_has_something_to_ask_on_some_picture,
    its_right_answers_can_be_read_and_its_distractors_are_others,
    its_words_are_there_for_every_question_that_it_has,
    its_verifier_agrees_on_every_picture,
)
