"""What happened to one claim on one image: ten outcomes, of which four are the model's fault.

Every outcome is a record, not only the failures: a failure rate needs what went right. An exception, the baseline's or the
judge's, is `infra_error` and never a failure; abstaining where a claim does not apply is right, and answering it is a failure.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from millrace.errors import ItemFailed, RunFailed, ShortOfTarget
from millrace.probing.annotated import Subject
from millrace.probing.baselines import Completion
from millrace.probing.claims import Claim
from millrace.probing.judges import Judge, Verdict
from millrace.records.outcome import FAILURES, ErrorNote, Judgement, Outcome


class Decision(msgspec.Struct, frozen=True):
    """A verdict, with the exception behind it where there was one."""

    verdict: Verdict
    error: ErrorNote | None = None

    @property
    def outcome(self) -> Outcome:
        """What happened."""
        return Outcome(self.verdict.outcome)


def judgement_of(verdict: Verdict) -> Judgement:
    """The verdict as an outcome's record has it."""
    return Judgement(
        by=verdict.by,
        kind=verdict.kind,
        correct=verdict.correct,
        accepted={slot: tuple(values) for slot, values in verdict.accepted.items()},
        explanation=verdict.explanation,
        votes=verdict.votes or UNSET,
        missing=verdict.missing or UNSET,
    )


def failure_id_of(outcome: str, claim: Claim) -> str | None:
    """The failure that the outcome shows; None when it is not the model's failure."""
    return claim.target_failure_id if outcome in FAILURES else None


def decide(judge: Judge, claim: Claim, subject: Subject, completion: Completion | Exception, row: Any) -> Decision:
    """The outcome of one claim: the judge's verdict, or for an exception of the baseline or of the judge `cut_off`, `filtered` or
    `infra_error`.
    """
    if isinstance(completion, Exception):
        return broken("baseline", completion)
    try:
        return Decision(judge.judge(claim, subject, completion, row))
    except (RunFailed, ShortOfTarget):  # no judge answers, or the budget is spent: not this item's failure
        raise
    except Exception as error:  # noqa: BLE001 - one item's failure becomes a record here
        return broken("judge", error)


def broken(who: str, error: Exception) -> Decision:
    """The decision on a claim that `who` broke: the baseline, the judge, the lake."""
    reason = error.reason if isinstance(error, ItemFailed) else ""
    outcome = Outcome(reason) if reason in {Outcome.CUT_OFF, Outcome.FILTERED} else Outcome.INFRA_ERROR
    verdict = Verdict(outcome=outcome, kind="unverified", explanation=f"The {who} raised {type(error).__name__}.", by=who)
    return Decision(verdict, ErrorNote(type(error).__name__, str(error)[:500]))
