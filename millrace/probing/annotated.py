"""What probing asks of an annotation: what a claim may be about on this picture, and which answers are right.

A kind of annotation (`millrace.lake.annotations`) names the module for it, which has the functions of `ClaimRules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from millrace.lake.annotations import understood_by
from millrace.plugins.contracts import completed, optional
from millrace.records.outcome import Selector

if TYPE_CHECKING:
    from millrace.lake.rows import LakeRow
    from millrace.probing.claims import Claim

UNANSWERABLE_SHARE = 0.15
"""Share of the claims asked that do not apply: enough for a useful rate, few enough that answering stays the rule."""

Selectors = dict[str, Selector]
"""By slot: what is meant, for programs, in the kind's own terms. They travel with an outcome to the question stage."""


class Subject(msgspec.Struct, frozen=True):
    """What a claim's prefilled slots are filled with."""

    values: dict[str, str]
    """By slot: the words."""
    selectors: Selectors
    """By slot: the same for programs."""
    answerable: bool


class Truth(msgspec.Struct, frozen=True):
    """The right answers to one claim about one subject."""

    answerable: bool
    """False: the claim does not apply, and the right answer is to say so."""
    clear: bool
    """False: a careful person might answer otherwise, so it should not be asked and can't be judged."""
    correct: dict[str, str] = {}
    """The best answer by slot; empty when unanswerable or unclear."""
    accepted: dict[str, tuple[str, ...]] = {}
    """Every right answer by slot. For a percentage only the exact one: the judge applies the slot's tolerance."""


NOT_ANSWERABLE = Truth(answerable=False, clear=True)
UNCLEAR = Truth(answerable=True, clear=False)


class ClaimRules(Protocol):
    """How claims are decided from one kind of annotation. A module with these functions; none may look at the pixels."""

    def choose_subject(
        self, claim: Claim, row: LakeRow, *, seed: int, image_id: str, unanswerable_share: float
    ) -> Subject | None:
        """The subject of `claim` on this picture; None when the picture offers none that has a clear answer.

        The same arguments give the same subject.
        """
        ...

    def truth_of(self, claim_id: str, row: LakeRow, selectors: Mapping[str, Selector]) -> Truth | None:
        """What is right for a claim about this subject; None for a claim that the annotation can't decide."""
        ...

    def read_value(self, slot: str, text: str) -> str | None:
        """The value that an answer means, in the spelling of `Truth`; None when it can't be read or could mean two."""
        ...

    @optional
    def factors(self, row: LakeRow) -> tuple[str, ...]:
        """Properties of the picture that may go with failures."""
        del row
        return ()


def claim_rules(row: LakeRow) -> ClaimRules | None:
    """The module that decides claims about this picture; None without an annotation, or for one without such a module."""
    rules = understood_by(getattr(row, "annotation", None), "claims")
    return None if rules is None else completed(rules, ClaimRules, f"the module {rules.__name__}")  # type: ignore[no-any-return]
