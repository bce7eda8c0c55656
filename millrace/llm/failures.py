"""What can go wrong with a call, named by what the caller does next.

CallFailed     (an ItemFailed)     this request will not be answered: make a record of it; the endpoint's fault, never the model's
ReplyInvalid   (an ItemFailed)     the model answered, but not as the schema asks: the model's own fault
CutOff         (an ItemFailed)     the answer broke off at its longest length, also with more room: a class of its own
Filtered       (an ItemFailed)     a filter of the server refused the question or the answer, not the model: a class of its own
EndpointDown   (a RunFailed)       no request will be answered: stop, repair the endpoint, run again; what was paid is kept
BudgetSpent    (a ShortOfTarget)   the money or the token budget is gone: finish with what there is

AttemptFailed  stays inside this folder: one attempt's failure, with all that the retry rules need to know.
"""

from __future__ import annotations

from typing import Any

from millrace.errors import ItemFailed, RunFailed, ShortOfTarget
from millrace.records.llm import FailureKind, Usage


class CallFailed(ItemFailed):
    """The request was not answered: `reason` is the class of the last failure, `status` its HTTP status (None without one)."""

    def __init__(self, reason: str, detail: str = "", status: int | None = None, attempts: int = 1) -> None:
        super().__init__(reason, detail)
        self.args = (reason, detail, status, attempts)
        self.status = status
        self.attempts = attempts


class ReplyInvalid(ItemFailed):
    """The model's answer does not satisfy the schema, also after one re-ask; `text` is what it wrote last."""

    def __init__(self, reason: str, detail: str = "", text: str = "") -> None:
        super().__init__(reason, detail)
        self.args = (reason, detail, text)
        self.text = text


class CutOff(ItemFailed):
    """The answer broke off at its longest length (the thinking included), also with more room; `text` is what there was of it."""

    def __init__(self, detail: str = "the answer ends at max_tokens", text: str = "") -> None:
        super().__init__("cut_off", detail)
        self.args = (detail, text)
        self.text = text


class Filtered(ItemFailed):
    """A filter of the server refused the question or the answer; the model said nothing."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("filtered", detail)
        self.args = (detail,)


class EndpointDown(RunFailed):
    """No endpoint answers, or all refuse everything alike; nothing more is sent."""


class BudgetSpent(ShortOfTarget):
    """The run's spending limit is reached; nothing more is sent."""


class AttemptFailed(Exception):
    """One attempt's failure; the durable client turns it into a wait, a `CallFailed` or an `EndpointDown`."""

    def __init__(
        self,
        kind: FailureKind,
        detail: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        fatal: bool = False,
        account_empty: bool = False,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(kind, detail)
        self.kind: FailureKind = kind
        self.detail = detail
        self.status = status
        self.retry_after_s = retry_after_s
        """What the server asked to wait; None when it said nothing."""
        self.fatal = fatal
        """Nothing that follows can succeed either (a certificate that is not trusted, a revoked key)."""
        self.account_empty = account_empty
        """With `overload`: by its words the account may be empty, and nothing says when to come back."""
        self.usage = usage
        """The tokens of a reply that cannot be used, as far as it tells them; None where there was no reply."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive pickling with the keyword arguments."""
        return (
            _attempt_failed,
            (self.kind, self.detail, self.status, self.retry_after_s, self.fatal, self.account_empty, self.usage),
        )

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


def _attempt_failed(
    kind: FailureKind,
    detail: str,
    status: int | None,
    retry_after_s: float | None,
    fatal: bool,
    account_empty: bool,
    usage: Usage | None,
) -> AttemptFailed:
    return AttemptFailed(
        kind, detail, status=status, retry_after_s=retry_after_s, fatal=fatal, account_empty=account_empty, usage=usage
    )
