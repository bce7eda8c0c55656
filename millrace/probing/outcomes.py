"""What happened to one claim on one image: eight outcomes, of which four are the model's fault.

Every outcome is a record, not only the failures: a failure rate needs what went right. An exception, the baseline's or the
judge's, is `infra_error` and never a failure; abstaining where a claim does not apply is right, and answering it is a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

import msgspec

from millrace.errors import RunFailed, ShortOfTarget
from millrace.probing.annotated import Subject
from millrace.probing.baselines import Completion
from millrace.probing.claims import Claim
from millrace.probing.judges import Judge, Verdict


class Outcome(StrEnum):
    """The eight things that can happen to a claim on an image."""

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


OUTCOMES = tuple(outcome.value for outcome in Outcome)
"""Their names, in the order of reports."""

FAILURES = frozenset({"wrong", "wrong_abstain", "hallucinated", "format_error"})
"""The outcomes that are the model's fault: only these get a failure id and count towards a target."""

SUCCESSES = frozenset({"correct", "right_abstain"})
"""With the failures: what a failure rate is taken over. `infra_error` and `judge_uncertain` say nothing about the model."""

OUTCOME_SCHEMA = "millrace.outcome/1"
"""Version of the outcome record."""


class ErrorNote(msgspec.Struct, frozen=True):
    """An exception, written down."""

    type: str
    message: str


class Decision(msgspec.Struct, frozen=True):
    """A verdict, with the exception behind it where there was one."""

    verdict: Verdict
    error: ErrorNote | None = None


class OutcomeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One claim on one image, as a line of the outcome journal."""

    kind: Literal["outcome"] = "outcome"
    id: str
    schema: str = OUTCOME_SCHEMA
    image: dict[str, Any]
    """Where the image is (file, row, sha256, image_id) and its width and height."""
    claim_id: str
    claim_set: str
    """The set's SHA-256."""
    claim: str
    """The sentence with its subject filled in and the slots to be answered left open."""
    prefilled: dict[str, str]
    selectors: dict[str, dict[str, Any]]
    answerable: bool
    outcome: str
    """One of `OUTCOMES`."""
    failure_id: str | None
    """None unless the outcome is the model's failure."""
    baseline: dict[str, Any] | None
    """None when the baseline raised."""
    judge: dict[str, Any] | None
    """None when nothing came to be judged."""
    factors: tuple[str, ...]
    error: ErrorNote | None


class DroppedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What was not asked, and why."""

    kind: Literal["dropped"] = "dropped"
    id: str
    image: dict[str, Any]
    claim_id: str | None
    """None: the whole image, for all its claims."""
    reason: str
    detail: str = ""
    claims: int = 1
    """How many claims the record stands for."""


def failure_id_of(outcome: str, claim: Claim) -> str | None:
    """The failure that the outcome shows; None when it is not the model's failure."""
    return claim.target_failure_id if outcome in FAILURES else None


def decide(judge: Judge, claim: Claim, subject: Subject, completion: Completion | Exception, row: Any) -> Decision:
    """The outcome of one claim: the judge's verdict, or `infra_error` for any exception of the baseline or of the judge."""
    if isinstance(completion, Exception):
        return _broken("baseline", completion)
    try:
        return Decision(judge.judge(claim, subject, completion, row))
    except (RunFailed, ShortOfTarget):  # no judge any more, or the money is spent: not this item's failure
        raise
    except Exception as error:  # noqa: BLE001 - one item's failure becomes a record here
        return _broken("judge", error)


def _broken(who: str, error: Exception) -> Decision:
    verdict = Verdict(
        outcome=Outcome.INFRA_ERROR, kind="unverified", explanation=f"The {who} raised {type(error).__name__}.", by=who
    )
    return Decision(verdict, ErrorNote(type(error).__name__, str(error)[:500]))


def failure_rate(outcomes: Mapping[str, int]) -> float | None:
    """Failures among the answers that tell something about the model; None when there are none."""
    failures = sum(outcomes.get(outcome, 0) for outcome in FAILURES)
    told = failures + sum(outcomes.get(outcome, 0) for outcome in SUCCESSES)
    return failures / told if told else None
