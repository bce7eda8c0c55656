"""What the question stage writes: questions with their checks and lineage, and the failures that got none."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

import msgspec
from msgspec import UNSET, UnsetType

from millrace.records.lake import ImageRef
from millrace.records.outcome import BaselineAnswer, JudgeNote, Selector
from millrace.records.record import Record
from millrace.records.selection import Source

QuestionType = Literal["multiple_choice", "fill_in_blank", "yes_no"]
"""The forms of a question."""

Evidence = Literal["verified", "judged", "unverified"]
"""verified: checked by a program that shares no code with the writer; judged: by models; unverified: neither."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What a question asks, for programs. Source: the writer."""

    aspect: str
    """What is asked about the subject; empty where only a model can tell."""
    family: str
    """Questions of one family are balanced against each other."""
    form: str
    """`presence` where it is asked whether the subject is there; else empty."""
    selectors: dict[str, Selector]
    """By slot: the subject."""
    value: str
    """The right value, without a language."""
    statement: str | None
    """The value that a yes/no question states."""


class Distractor(msgspec.Struct, frozen=True):
    """A wrong option. Source: the writer."""

    value: str
    kind: str
    """What sort of wrong answer it is."""


class CheckResult(msgspec.Struct, frozen=True):
    """One check of a question. Source: the question stage's checks."""

    name: str
    passed: bool
    detail: str = ""
    """What is wrong, in a sentence."""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """How an answer was checked. Source: the verifier, or the writer's model."""

    status: Evidence
    by: str | None
    checks: tuple[CheckResult, ...]


class Difficulty(msgspec.Struct, frozen=True, kw_only=True):
    """What the model under test made of the final question. Source: asking it."""

    baseline_correct: bool | None
    """None when it was not asked or could not answer."""
    asked: int
    """How many answers there are."""
    answers: tuple[str, ...]
    blind_correct: bool | UnsetType = UNSET
    """The same without the picture, where that was tried."""


class ItemLineage(msgspec.Struct, frozen=True, kw_only=True):
    """Where a question came from. Source: the selection."""

    selection_id: str
    outcome_id: str | None
    outcome: str | None
    failure_id: str | None
    claim_id: str | None
    claim: str
    prefilled_values: dict[str, str]
    answerable: bool | None
    baseline: BaselineAnswer | None
    correct: dict[str, str]
    accepted: dict[str, tuple[str, ...]]
    factors: tuple[str, ...]
    judge: JudgeNote


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """How a question was made. Source: the writer."""

    writer: str
    """The writer's fingerprint."""
    template: str
    """Which wording, or which prompt."""
    variant: int
    """0 for the first question about a failure."""
    attempt: int
    """0 at first; 1, 2 … after a draft that a check refused."""
    seed: int
    schema: Literal["millrace.qa/1"] = "millrace.qa/1"
    relettered: bool | UnsetType = UNSET
    """True where two options were exchanged after the model under test had been asked."""


class Item(Record, frozen=True, kw_only=True, tag_field="kind", tag="item"):
    """One question: a line of `qa/written/`, `qa/checked/` and `qa/shard-*.jsonl`. Source: the question stage."""

    SCHEMA: ClassVar[str] = "millrace.qa/1"

    id: str
    """A hash of the selection's id, the question and its answers."""
    schema: Literal["millrace.qa/1"] = "millrace.qa/1"
    sample_index: int | None
    """The selection's."""
    source_a_id: str
    """The image's id, under the original project's name."""
    trace_id: str
    """The selection's id, under the original project's name."""
    image: ImageRef
    source_a: Source
    question: str
    full_question: str
    """The question with its options below."""
    question_type: QuestionType
    options: dict[str, str]
    """By key, A to D; empty for a gap."""
    answer: str
    """The right option's key, or the words for a gap."""
    correct_option: str | None
    """The right option's key; None for a gap."""
    answer_text: str
    accepted_answers: tuple[str, ...]
    """For a gap: every wording that counts."""
    explanation: str
    pipeline_name: str
    """Key of the question pipeline."""
    pipeline_intent: str
    answer_type: str
    language: str
    """en or zh."""
    task: Task
    distractors: dict[str, Distractor]
    """By key."""
    validation_passed: bool | None
    """None before it was checked."""
    validation_score: float | None
    """Share of its checks that it passed, 0 to 1."""
    verification: Verification
    difficulty: Difficulty
    lineage: ItemLineage
    provenance: Provenance


class DroppedQuestion(Record, frozen=True, kw_only=True, tag_field="kind", tag="dropped"):
    """A failure that got no question: a line of `qa/written/dropped/` and `qa/rejected/`. Source: the writing of questions."""

    SCHEMA: ClassVar[str] = "millrace.dropped_question/1"

    id: str
    """The selection's id and the variant."""
    stage: str
    reason: str
    """In one word."""
    detail: str
    selection_id: str
    failure_id: str | None
    pipeline_name: str | None
    item: Item | UnsetType = UNSET
    """The last draft, where a check refused it."""


class RejectedQuestion(Record, frozen=True, kw_only=True, tag_field="kind", tag="rejected"):
    """A question that is not kept, whole, with its reason: a line of `qa/rejected/`. Source: checking, settling, the dataset."""

    SCHEMA: ClassVar[str] = "millrace.rejected_question/1"

    id: str
    """The question's."""
    stage: str
    """check, settle or dataset."""
    reason: str
    detail: str
    selection_id: str
    failure_id: str | None
    pipeline_name: str
    item: Item


RefusedQuestion = DroppedQuestion | RejectedQuestion
"""A line of `qa/rejected/`."""

REFUSED_QUESTION = cast("type[RefusedQuestion]", RefusedQuestion)
"""The same as an argument of `read_records`."""


class AskedQuestion(Record, frozen=True, kw_only=True):
    """What the model under test answered to a finished question: a line of `qa/asked/`. Source: the baseline."""

    SCHEMA: ClassVar[str] = "millrace.asked_question/1"

    id: str
    """The question's."""
    answers: tuple[str, ...]
    """Keys or words; empty when it could not be asked."""
    error: str | UnsetType = UNSET
    """Why it could not be asked."""
    blind_answers: tuple[str, ...] | UnsetType = UNSET
    """Answers without the picture."""


class ExaminedQuestion(Record, frozen=True, kw_only=True):
    """All checks of one question: a line of `qa/written/examined/`. Source: the writing, which examines what it wrote."""

    SCHEMA: ClassVar[str] = "millrace.examined_question/1"

    proof: str
    """A hash over all that the examination depends on."""
    checks: tuple[tuple[str, bool, str], ...]
    """(name, passed, detail) of each."""
    status: Evidence
    by: str | None
