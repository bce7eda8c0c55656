"""What can happen to a claim on an image, and which of it is the fault of the model."""

from __future__ import annotations

from enum import StrEnum


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
