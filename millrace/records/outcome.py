"""What can happen to a claim on an image, and which of it is the fault of the model."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import ClassVar, Literal, cast

import msgspec
from msgspec import UNSET, UnsetType

from millrace.records.record import Record

SelectorValue = str | int | float | bool | dict[str, str]
"""A part of a selector: a label, a number of turns, adjectives by name."""

Selector = dict[str, SelectorValue]
"""Which things of a picture are meant, for programs, in the terms of the module that understands its annotation."""


class Outcome(StrEnum):
    """The ten things that can happen to a claim on an image."""

    CORRECT = "correct"
    WRONG = "wrong"
    RIGHT_ABSTAIN = "right_abstain"
    """The claim does not apply and the model said so."""
    WRONG_ABSTAIN = "wrong_abstain"
    """The claim applies and the model said it does not."""
    HALLUCINATED = "hallucinated"
    """The claim does not apply and the model answered it."""
    FORMAT_ERROR = "format_error"
    """The model's reply could not be read, or lies outside what the slot allows."""
    INFRA_ERROR = "infra_error"
    """Something broke that is not the model's ability: an exception, a lost connection, no memory."""
    JUDGE_UNCERTAIN = "judge_uncertain"
    """The judge could not tell."""
    CUT_OFF = "cut_off"
    """A reply, the model's or the judges', broke off at its longest length, also with more room."""
    FILTERED = "filtered"
    """A server's content filter withheld a reply, the model's or the judges'."""


OUTCOMES = tuple(outcome.value for outcome in Outcome)
"""Their names, in the order of reports."""

FAILURES = frozenset({"wrong", "wrong_abstain", "hallucinated", "format_error"})
"""The outcomes that are the model's fault: only these get a failure id and count towards a target."""

SUCCESSES = frozenset({"correct", "right_abstain"})
"""With the failures: what a failure rate is taken over. The others say nothing about the model."""


class ImagePlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where an image lies in the lake, and its size. Source: the lake's row, and the decoded picture."""

    image_id: str
    file: str = ""
    """The parquet file, relative to the lake's folder when it is inside."""
    row: int = 0
    """Row in that file, from 0."""
    sha256: str | None = None
    """16 hex digits over the stored bytes; "" when there are none, None when the writer of the outcome did not know them."""
    width: int | UnsetType | None = UNSET
    height: int | UnsetType | None = UNSET
    """In pixels, as the picture is shown; not there when it was not decoded."""


class BaselineAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the model under test said to one claim. Source: the baseline. Outcomes from elsewhere may lack any field."""

    name: str | UnsetType = UNSET
    """The plug-in, or the model's name at its endpoint."""
    fingerprint: str | UnsetType = UNSET
    """Changes with anything that may change a reply."""
    related: bool | UnsetType = UNSET
    """False: it said that the claim does not apply."""
    values: dict[str, str] | UnsetType = UNSET
    """By slot; empty when not related or when the reply could not be read."""
    text: str | UnsetType = UNSET
    """The completed sentence."""
    explanation: str | UnsetType = UNSET
    raw: str | UnsetType | None = UNSET
    """The reply as it came, where there is one."""
    confidence: float | UnsetType | None = UNSET
    """The model's own probability of what it said, 0 to 1; None where it gives none."""

    @property
    def said(self) -> dict[str, str]:
        """The values by slot."""
        return self.values or {}

    @property
    def abstained(self) -> bool:
        """Whether it said that the claim does not apply."""
        return self.related is False


class JudgeNote(msgspec.Struct, frozen=True, kw_only=True):
    """Who decided an outcome, and on what. Source: the judge. A selection from elsewhere may lack any field."""

    by: str | UnsetType | None = UNSET
    kind: str | UnsetType | None = UNSET
    """verified: computed from what is known to be true; judged: a model's opinion; unverified: neither."""
    explanation: str | UnsetType | None = UNSET


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What a judge decided. Source: the judge. Outcomes from elsewhere may lack any field."""

    by: str | None = None
    kind: str | None = None
    """verified, judged or unverified, see `JudgeNote`."""
    correct: dict[str, str] = {}
    """The right value by slot; empty when the claim does not apply or nothing is known."""
    accepted: dict[str, tuple[str, ...]] = {}
    """By slot every value that counts as right; for a percentage its lowest and highest."""
    explanation: str | None = None
    votes: dict[str, str] | UnsetType = UNSET
    """Judge → the outcome it voted for, where several were asked."""
    missing: dict[str, str] | UnsetType = UNSET
    """Judge → why it gave no vote."""


class ErrorNote(msgspec.Struct, frozen=True):
    """An exception, written down."""

    type: str
    message: str


class OutcomeRecord(Record, frozen=True, kw_only=True, tag_field="kind", tag="outcome"):
    """One claim on one image: a line of `probing/shard-*.jsonl`. Source: probing."""

    SCHEMA: ClassVar[str] = "millrace.outcome/1"

    id: str
    """A hash of the image, the claim, its subject, the baseline and the seed."""
    schema: Literal["millrace.outcome/1"] = "millrace.outcome/1"
    image: ImagePlace
    claim_id: str
    claim_set: str
    """The set's SHA-256."""
    claim: str
    """The sentence with its subject filled in and the slots to be answered left open."""
    prefilled: dict[str, str]
    """By slot: the subject in words."""
    selectors: dict[str, Selector]
    """By slot: the same for programs."""
    answerable: bool
    """False: the claim is about something that is not there, on purpose."""
    outcome: Outcome
    failure_id: str | None
    """None unless the outcome is the model's failure."""
    baseline: BaselineAnswer | None
    """None when the baseline raised."""
    judge: Judgement | None
    """None when nothing came to be judged."""
    factors: tuple[str, ...]
    """Properties of the image that may go with failures, by the names that its annotation's kind gives."""
    error: ErrorNote | None


class DroppedClaim(Record, frozen=True, kw_only=True, tag_field="kind", tag="dropped"):
    """What was not asked, and why: a line among the outcomes. Source: probing."""

    SCHEMA: ClassVar[str] = "millrace.dropped_claim/1"

    id: str
    image: ImagePlace
    claim_id: str | None
    """None: the whole image, for all its claims."""
    reason: str
    """In one word."""
    detail: str = ""
    """In a sentence, where there is more to say."""
    claims: int = 1
    """How many claims the record stands for."""


ProbedClaim = OutcomeRecord | DroppedClaim
"""A line of `probing/shard-*.jsonl`."""

PROBED_CLAIM = cast("type[ProbedClaim]", ProbedClaim)
"""The same as an argument of `read_records`."""


def is_failure(record: ProbedClaim) -> bool:
    """Whether it is a failure of the model."""
    return isinstance(record, OutcomeRecord) and record.outcome in FAILURES


def count_failures(records: Iterable[ProbedClaim]) -> int:
    """How many of the lines are failures of the model."""
    return sum(map(is_failure, records))


class ForeignOutcome(Record, frozen=True, kw_only=True):
    """An outcome as filtering takes it: one of probing's, or one from elsewhere, which needs only what has no default here."""

    SCHEMA: ClassVar[str] = "millrace.foreign_outcome/1"

    id: str
    image: ImagePlace
    outcome: str
    failure_id: str
    claim: str = ""
    claim_id: str | None = None
    claim_set: str | None = None
    prefilled: dict[str, str] | None = None
    selectors: dict[str, Selector] | None = None
    answerable: bool | None = None
    baseline: BaselineAnswer | None = None
    judge: Judgement | None = None
    factors: tuple[str, ...] | None = None
