"""The independent check of questions about boxes. One file in this folder verifies what one kind of claim asks.

A finished question is read as a person would read it: which value each option means, what a yes/no question states, whether it
names its subject. Each value is then held against pixels into which the boxes and masks have been drawn. Nothing here is shared
with what wrote the question (`geometry`, `kinds`, `wordings`), and the annotation's bytes are read anew.

Covers: wrong answers, second right options, options that can't be read, a question about another subject than recorded.
Does not cover: whether a box is where the thing is. What "verified" means here is: verified against the boxes as they were given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import msgspec

from millrace.boxes.verifiers._pixels import Evidence, Selectors, draw
from millrace.boxes.verifiers._reading import names_subject, without_subject
from millrace.errors import ItemFailed
from millrace.plugins.loading import load_plugin, plugin_names
from millrace.records.question import Item

if TYPE_CHECKING:
    from millrace.lake.rows import LakeRow

BY = "boxes drawn as pixels"
"""Named in every record that passes."""

ABSENT = "none"

Truth = bool | None
"""None: too near to call."""


class Checks(NamedTuple):
    """How answers of one aspect are read and decided. A file's `CHECKS` has them by aspect."""

    read: Callable[[str], str | None]
    """The value that an option or an answer means, in lower case; None when it means none or might mean two."""
    holds: Callable[[Evidence, Selectors, str], Truth]
    """Whether a value is true of the subject; `ABSENT` says that the subject is not there."""
    state: Callable[[str], str | None] | None = None
    """The value that a yes/no question states; None: read like an answer."""
    rivals: tuple[str, ...] = ()
    """Every value that a gap might be filled with."""
    subject: bool = True
    """Whether the question must name its subject."""


class Plugin(Protocol):
    """What a module in this folder has."""

    CHECKS: Mapping[str, Checks]
    """By aspect."""


class Finding(msgspec.Struct, frozen=True):
    """The verifier's result on one question."""

    status: Literal["verified", "refuted", "unable"]
    reason: str = ""
    detail: str = ""
    by: str = BY


@lru_cache(maxsize=1)
def _checks() -> Mapping[str, Checks]:
    package = __name__
    found: dict[str, Checks] = {}
    for name in plugin_names(package):
        found |= load_plugin(package, name, "verifier").CHECKS
    return found


def verify(item: Item, row: LakeRow) -> Finding:
    """Hold a finished question against its picture: verified, or refuted with the reason; unable when there are no boxes."""
    task = item.task
    checks = _checks().get(task.aspect)
    if checks is None or row.annotation is None:
        return Finding("unable", "no_second_view", f"nothing verifies '{task.aspect}' here")
    try:
        evidence = draw(row)
    except ItemFailed as failure:
        return Finding("refuted", failure.reason, failure.detail)
    try:
        selectors = msgspec.convert(task.selectors, Selectors)
    except msgspec.ValidationError as error:
        return Finding("refuted", "unreadable_record", f"its selectors are not those of boxes: {error}")
    question = item.question
    if checks.subject and not names_subject(question, selectors, evidence.labels):
        return Finding("refuted", "other_subject", f"the question does not name its subject {selectors}")
    judge = {"multiple_choice": _options, "yes_no": _yes_no, "fill_in_blank": _blank}[item.question_type]
    return judge(item, checks, lambda value: checks.holds(evidence, selectors, value))


def _options(item: Item, checks: Checks, true: Callable[[str], Truth]) -> Finding:
    seen: dict[str, Truth] = {}
    for key, text in item.options.items():
        value = read_option(checks, text)
        if value is None:
            return Finding("refuted", "unreadable_option", f"option {key} '{text}' is no answer to this kind of question")
        seen[key] = true(value)
    if seen.get(item.answer) is not True:
        return Finding("refuted", "wrong_answer", f"the boxes do not show that {item.answer} is right ({seen})")
    if any(truth is not False for key, truth in seen.items() if key != item.answer):
        return Finding("refuted", "second_answer", f"another option may be right as well ({seen})")
    return Finding("verified")


def _yes_no(item: Item, checks: Checks, true: Callable[[str], Truth]) -> Finding:
    yes = {"yes": True, "no": False}.get(str(item.options.get(item.answer, "")).casefold())
    if item.task.form == "presence":
        truth = true(ABSENT)
        truth = None if truth is None else not truth
    else:
        stated = without_subject(item.question, msgspec.convert(item.task.selectors, Selectors))
        value = (checks.state or checks.read)(stated)
        if value is None:
            return Finding("refuted", "unreadable_statement", "what the question states can't be read off it")
        truth = true(value)
    if yes is None or truth is None or yes is not truth:
        return Finding("refuted", "wrong_answer", f"the boxes say {truth}, the answer {item.answer}")
    return Finding("verified")


def _blank(item: Item, checks: Checks, true: Callable[[str], Truth]) -> Finding:
    values = {read_option(checks, text) for text in (item.answer, *item.accepted_answers)}
    value = values.pop()
    if values or value is None:
        return Finding("refuted", "unreadable_option", f"'{item.answer}' is not one answer to this kind of question")
    if true(value) is not True:
        return Finding("refuted", "wrong_answer", f"the boxes do not show that '{value}' is right")
    rival = next((other for other in checks.rivals if other != value and true(other) is not False), None)
    return Finding("refuted", "second_answer", f"'{rival}' may fill the gap as well") if rival else Finding("verified")


def read_option(checks: Checks, text: str) -> str | None:
    """The value that an option or an answer means; `ABSENT` where it says that the subject is not there."""
    said = text.strip().casefold().rstrip(".")
    if said.startswith(("there is no", "one of the two is not there", "every quarter has")):
        return ABSENT
    return checks.read(said)
