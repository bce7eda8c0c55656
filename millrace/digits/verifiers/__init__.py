"""The independent check of questions about digits. One file in this folder verifies what one kind of claim asks.

A finished question is read as a person would read it (`_reading`), every option is held against what the pixels show
(`_pixels`), and the claim stands only if the answer is true and everything else false, each beyond the verifier's own margins.
Nothing here is shared with the code that wrote the question (`kinds`, `geometry`, `wordings`): an error there does not repeat
itself here.

Covers: wrong answers, second right options, options that can't be read, a question about another subject than recorded, an
annotation that contradicts the image. Does not cover: bad style, and leaks (see `question_checks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

import msgspec

from millrace.digits.verifiers._pixels import Evidence, Mark, Selectors, look
from millrace.digits.verifiers._reading import ABSENT, names_subject, says_nothing_is_there
from millrace.errors import ItemFailed
from millrace.lake.rows import LakeRow
from millrace.plugins.loading import load_plugin, plugin_names
from millrace.records.outcome import Selector
from millrace.records.question import Item

BY = "pixels and handwriting labels"
"""Named in every record that passes."""

BORDER = 0.01
"""Share of the side by which a mean must lie inside a region to count."""

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
def all_checks() -> Mapping[str, Checks]:
    """How each aspect is read and decided."""
    found: dict[str, Checks] = {}
    for name in plugin_names(__name__):
        found |= load_plugin(__name__, name, "verifier").CHECKS
    return found


def verify(item: Item, row: LakeRow) -> Finding:
    """Hold a finished question against its image.

    Returns:
        verified; refuted with the reason; unable when the image has no second view of its content.
    """
    task = item.task
    checks = all_checks().get(task.aspect)
    if checks is None:
        return Finding("unable", "no_second_view", f"nothing verifies '{task.aspect}' here")
    try:
        evidence = look(row)
    except ItemFailed as failure:
        status: Literal["refuted", "unable"] = "unable" if failure.reason == "no_second_view" else "refuted"
        return Finding(status, failure.reason, failure.detail)
    if checks.subject and not names_subject(item.question, task.selectors):
        return Finding("refuted", "other_subject", f"the question does not name its subject {task.selectors}")
    rule = _READERS[item.question_type]
    return rule(item, checks, lambda value: checks.holds(evidence, task.selectors, value))


def read_answer(aspect: str, text: str) -> str | None:
    """The value that an option or an answer means; None when it means none or might mean two."""
    said = text.strip().casefold().rstrip("。.")
    return ABSENT if says_nothing_is_there(said) else all_checks()[aspect].read(said)


def read_statement(aspect: str, question: str) -> str | None:
    """The value that a yes/no question states; None when none or several can be found."""
    checks = all_checks()[aspect]
    return (checks.state or checks.read)(question.casefold())


def _options(item: Item, checks: Checks, true: Callable[[str], Truth]) -> Finding:
    del checks
    seen: dict[str, Truth] = {}
    for key, text in item.options.items():
        value = read_answer(item.task.aspect, text)
        if value is None:
            return Finding("refuted", "unreadable_option", f"option {key} '{text}' is no answer to this kind of question")
        seen[key] = true(value)
    if seen.get(item.answer) is not True:
        return Finding("refuted", "wrong_answer", f"the pixels do not show that {item.answer} is right ({seen})")
    others = {key: truth for key, truth in seen.items() if key != item.answer}
    if any(truth is not False for truth in others.values()):
        return Finding("refuted", "second_answer", f"another option may be right as well ({seen})")
    return Finding("verified")


def _yes_no(item: Item, checks: Checks, true: Callable[[str], Truth]) -> Finding:
    del checks
    yes = {"yes": True, "no": False, "是": True, "否": False}.get(str(item.options.get(item.answer, "")).casefold())
    if item.task.form == "presence":
        truth = true(ABSENT)
        truth = None if truth is None else not truth
    else:
        value = read_statement(item.task.aspect, item.question)
        if value is None:
            return Finding("refuted", "unreadable_statement", "what the question states can't be read off it")
        truth = true(value)
    if yes is None or truth is None or yes is not truth:
        return Finding("refuted", "wrong_answer", f"the pixels say {truth}, the answer {item.answer}")
    return Finding("verified")


def _blank(item: Item, checks: Checks, true: Callable[[str], Truth]) -> Finding:
    aspect = item.task.aspect
    values = {read_answer(aspect, text) for text in (item.answer, *item.accepted_answers)}
    value = values.pop()
    if values or value is None:
        return Finding("refuted", "unreadable_option", f"'{item.answer}' is not one answer to this kind of question")
    if true(value) is not True:
        return Finding("refuted", "wrong_answer", f"the pixels do not show that '{value}' is right")
    rival = next((other for other in checks.rivals if other != value and true(other) is not False), None)
    return Finding("refuted", "second_answer", f"'{rival}' may fill the gap as well") if rival else Finding("verified")


_READERS: dict[str, Callable[[Item, Checks, Callable[[str], Truth]], Finding]] = {
    "multiple_choice": _options,
    "yes_no": _yes_no,
    "fill_in_blank": _blank,
}


def those(evidence: Evidence, selector: Selector) -> list[Mark]:
    """The marks that a selector means."""
    return [mark for mark in evidence.marks if is_meant(mark, selector)]


def is_meant(mark: Mark, selector: Selector) -> bool:
    """Whether the mark has the selector's label and colour."""
    return selector.get("label") in (None, mark.label) and selector.get("colour") in (None, mark.colour)


def none_or_many(found: list[Mark], value: str) -> Truth:
    """What is true where a single digit was meant and there is none, or several; and whether `ABSENT` is true of one."""
    return None if len(found) > 1 else (value == ABSENT) == (not found)
