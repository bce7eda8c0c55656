"""What happened to one claim on one image: ten outcomes, of which four are the model's fault.

Every outcome is a record, not only the failures: a failure rate needs what went right. An exception, the baseline's or the
judge's, is `infra_error` and never a failure; abstaining where a claim does not apply is right, and answering it is a failure.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from millrace.errors import ItemFailed, RunFailed, ShortOfTarget
from millrace.probing.annotated import Subject
from millrace.probing.baselines import Completion
from millrace.probing.claims import Claim
from millrace.probing.judges import Judge, Verdict
from millrace.records.outcome import FAILURES, Outcome

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
    """The outcome of one claim: the judge's verdict, or for an exception of the baseline or of the judge `cut_off`, `filtered` or
    `infra_error`.
    """
    if isinstance(completion, Exception):
        return _broken("baseline", completion)
    try:
        return Decision(judge.judge(claim, subject, completion, row))
    except (RunFailed, ShortOfTarget):  # no judge answers, or the budget is spent: not this item's failure
        raise
    except Exception as error:  # noqa: BLE001 - one item's failure becomes a record here
        return _broken("judge", error)


def _broken(who: str, error: Exception) -> Decision:
    reason = error.reason if isinstance(error, ItemFailed) else ""
    outcome = Outcome(reason) if reason in {Outcome.CUT_OFF, Outcome.FILTERED} else Outcome.INFRA_ERROR
    verdict = Verdict(outcome=outcome, kind="unverified", explanation=f"The {who} raised {type(error).__name__}.", by=who)
    return Decision(verdict, ErrorNote(type(error).__name__, str(error)[:500]))
