"""Kinds of claims about digits, checked: rule, words and verifier of one name agree on drawn scenes (`millrace.testing`)."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import yaml

from millrace.digits.annotation import scene_of
from millrace.digits.geometry import Selectors, untyped
from millrace.digits.kinds import Plugin as ClaimKind
from millrace.digits.lake_build import build_lake
from millrace.digits.phrasing import load_phrasing
from millrace.digits.verifiers import Checks, read_answer
from millrace.digits.verifiers._pixels import look
from millrace.lake.parquet import stream_rows
from millrace.lake.rows import LakeRow
from millrace.plugins.loading import load_plugin, plugin_files, plugin_names
from millrace.probing.annotated import Truth

FOLDER = "millrace.digits.kinds"
WORD = "kind of claim"
SCENES = 24


class Opened(NamedTuple):
    """A kind with its two companions."""

    kind: ClaimKind
    checks: Mapping[str, Checks]
    words: Mapping[str, Any]


@contextlib.contextmanager
def opened(name: str, settings: Mapping[str, Any]) -> Iterator[Opened]:
    """The kind, and the wordings and the verifier of its name; it has no settings."""
    del settings
    kind: Any = load_plugin(FOLDER, name, WORD)
    companion = next(
        (short for short in plugin_names(FOLDER) if load_plugin(FOLDER, short, WORD) is kind), name.rpartition(".")[2]
    )
    checks = load_plugin("millrace.digits.verifiers", companion, "verifier").CHECKS
    words = plugin_files("millrace.digits.wordings", "yaml")
    if companion not in words:
        raise AssertionError(f"there are no wordings {companion}.yaml in the folder or among the entry points of wordings")
    yield Opened(kind, checks, yaml.safe_load(words[companion].read_text(encoding="utf-8")))


@lru_cache(maxsize=1)
def _scenes() -> tuple[LakeRow, ...]:
    """Pictures of the embedded lake."""
    with tempfile.TemporaryDirectory() as place:
        lake = Path(place)
        build_lake(lake, images=SCENES, pool="probe", seed=11)
        found = [row for file in sorted(lake.glob("*.parquet")) for row in stream_rows(file, lake=lake)]
    return tuple(row for row in found if isinstance(row, LakeRow))


class _Clear(NamedTuple):
    row: LakeRow
    selectors: Selectors
    truth: Truth


def _clear(subject: Opened) -> list[_Clear]:
    """Subjects with a clear answer on every picture, answerable ones and others."""
    found: list[_Clear] = []
    for row in _scenes():
        scene = scene_of(row)
        for answerable in (True, False):
            tried = islice(subject.kind.subjects(scene, Random(1), answerable=answerable), 60)
            truths = ((selectors, subject.kind.truth(scene, selectors)) for selectors in tried)
            clear = (_Clear(row, *one) for one in truths if one[1].clear and one[1].answerable == answerable)
            found += islice(clear, 3)
    return found


def it_has_something_to_ask_on_some_picture(subject: Opened) -> None:
    """A subject with a clear answer, said in words for every prefilled slot."""
    clear = _clear(subject)
    assert any(one.truth.answerable for one in clear), "no picture offers it a subject with a clear answer"
    for one in clear:
        said = {slot: subject.kind.SUBJECT[slot](selector) for slot, selector in one.selectors.items()}
        assert all(said.values()), f"a subject has no words: {one.selectors}"


def its_right_answers_can_be_read_and_its_distractors_are_others(subject: Opened) -> None:
    """`readings` gives right values and certainly wrong ones; `read_answer` reads what `truth` accepts."""
    for one in _clear(subject):
        name = one.row.ref.image_id
        for reading in subject.kind.readings(scene_of(one.row), one.selectors, one.truth):
            both = set(reading.right) & set(reading.wrong)
            assert not both, f"{sorted(both)} is right and wrong at once on {name}"
            assert reading.aspect in subject.kind.ASPECTS.values(), f"ASPECTS does not name the aspect '{reading.aspect}'"
        for slot, values in one.truth.accepted.items():
            for value in values:
                assert subject.kind.read_answer(slot, value) is not None, (
                    f"{slot}: the right answer '{value}' on {name} is not read"
                )


def its_words_are_there_for_every_question_that_it_has(subject: Opened) -> None:
    """Questions of at least one form, and an explanation."""
    for language in (key for key in subject.words if key != "pipelines"):
        said = subject.words[language]
        for aspect in subject.kind.ASPECTS.values():
            assert aspect in said.get("questions", {}), f"{language}: there are no questions about '{aspect}'"
            assert aspect in said.get("explanations", {}), f"{language}: '{aspect}' has no explanation"


def its_verifier_agrees_on_every_picture(subject: Opened) -> None:
    """Of the values as they are worded, a right one holds or is too near to call, and a wrong one never holds."""
    said, decided = load_phrasing("en"), 0
    assert said is not None
    for one in _clear(subject):
        if not one.truth.answerable:
            continue
        evidence, about = look(one.row), f"on {one.row.ref.image_id}"
        for reading in subject.kind.readings(scene_of(one.row), one.selectors, one.truth):
            checks = subject.checks.get(reading.aspect)
            assert checks is not None, f"CHECKS has nothing for '{reading.aspect}'"
            options = said.templates(reading.aspect, "multiple_choice")
            for value in (*reading.right, *reading.wrong):
                text = said.option(reading.aspect, value) if options else said.name(reading.aspect, value)
                read = read_answer(reading.aspect, text)
                assert read is not None or not options, f"the verifier cannot read the option '{text}'"
                if read is not None:
                    held, right = checks.holds(evidence, untyped(one.selectors), read), value in reading.right
                    assert held is None or held is right, f"the verifier calls '{value}' {held} {about}, the rule {right}"
                    decided += held is True
    assert decided, "the verifier confirms no right answer at all: nothing would be verified"


PROMISES = (
    it_has_something_to_ask_on_some_picture,
    its_right_answers_can_be_read_and_its_distractors_are_others,
    its_words_are_there_for_every_question_that_it_has,
    its_verifier_agrees_on_every_picture,
)
