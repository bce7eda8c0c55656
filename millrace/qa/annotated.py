"""What the question stage asks of an annotation: what can be asked about a failure, in which words, and whether an answer holds.

A kind of annotation (`millrace.lake.annotations`) names a module for it that has the functions of
`QuestionRules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from millrace.lake.annotations import understood_by
from millrace.plugins.contracts import completed
from millrace.records.outcome import Selector

if TYPE_CHECKING:
    from millrace.lake.rows import LakeRow
    from millrace.qa.writing.wordings import Wordings
    from millrace.records.question import Item


class Reading(msgspec.Struct, frozen=True):
    """One thing that can be asked about a failure's subject, and what is known about its answers."""

    aspect: str
    family: str
    """Readings of one family are balanced against each other: their options come from one set of values."""
    right: tuple[str, ...]
    """Every right value; only `NONE` when the subject isn't there."""
    wrong: dict[str, str]
    """Certainly wrong value → what kind of distractor it is."""
    sole: bool = True
    """Whether a free answer can only be the right value."""
    presence: bool = False
    """Whether it can also be asked if the subject is there at all: it is a single one, named by the question."""


class Finding(Protocol):
    """A verifier's result on one question."""

    @property
    def status(self) -> Literal["verified", "refuted", "unable"]:
        """unable: the image has no second view of its content that an answer could be held against."""
        ...

    @property
    def reason(self) -> str:
        """One word; `second_answer` where more than one answer may be right."""
        ...

    @property
    def detail(self) -> str:
        """A sentence."""
        ...

    @property
    def by(self) -> str:
        """What the answer was held against; named in every record that passes."""
        ...


class QuestionRules(Protocol):
    """How questions are written and checked from one kind of annotation. A module with these functions."""

    def readings(self, pipeline: str, row: LakeRow, selectors: Mapping[str, Selector]) -> list[Reading]:
        """What can be asked in `pipeline` about the subject that the failed claim was about, best first.

        Raises:
            ItemFailed: "not_computable" (an annotation is not enough), "unclear_subject" (it can't be told for certain).
        """
        ...

    def read_value(self, aspect: str, words: str) -> str | None:
        """The value of an aspect that a model's words mean; None when they mean none."""
        ...

    def wordings(self, language: str) -> Wordings | None:
        """The words of a language; None for one that it does not speak."""
        ...

    def verify(self, item: Item, row: LakeRow) -> Finding:
        """Hold a finished question against its image, by code of its own: nothing that wrote the question is used again."""
        ...


def question_rules(row: LakeRow) -> QuestionRules | None:
    """The module that writes and checks questions about this picture; None where its annotation has none, or there is none."""
    rules = understood_by(row.annotation, "questions")
    return None if rules is None else completed(rules, QuestionRules, f"the module {rules.__name__}")  # type: ignore[no-any-return]
