"""How often and when a failed request is sent again."""

from __future__ import annotations

import random

from millrace.llm.failures import AttemptFailed

FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 30.0
OVERLOAD_WAIT_S = 1.0
"""After a 429 that doesn't say how long."""

EMPTY_WAIT_S = 5.0
"""The longest wait between two looks at an account that may be empty."""

SAVED = 200.0
PER_SUCCESS = 0.25


class RetryBudget:
    """Keeps retries below a quarter of the successes, apart from what was saved up: a sick server is not helped by more requests.

    Nothing is dropped for it: a retry without budget waits its longest time.
    """

    def __init__(self) -> None:
        self.saved = SAVED

    def succeeded(self) -> None:
        """One request was answered."""
        self.saved = min(SAVED, self.saved + PER_SUCCESS)

    def take(self) -> bool:
        """Take one retry out of the budget; False when there is none."""
        if self.saved < 1:
            return False
        self.saved -= 1
        return True


class Retries:
    """The attempts of one request."""

    def __init__(self, allowed: int, budget: RetryBudget) -> None:
        self.sent = 0
        """Requests sent, whatever became of them."""
        self.counted = 0
        """Failures that count against `allowed`."""
        self._allowed = allowed
        self._budget = budget
        self._refusals = 0

    def wait_after(self, error: AttemptFailed) -> float | None:
        """Seconds until the next attempt; None when there is none.

        Being told to wait and not being able to connect cost no attempt: the pool's breaker decides how long that goes on.
        """
        if error.fatal or error.kind in {"rejected", "credentials"}:
            return None
        if error.kind == "overload":
            self._refusals += 1
            asked = error.retry_after_s
            if asked is None:
                asked = (
                    min(EMPTY_WAIT_S, OVERLOAD_WAIT_S * 2.0 ** min(self._refusals, 5)) if error.account_empty else OVERLOAD_WAIT_S
                )
            spread = 0.05 + 0.1 * min(self._refusals, 5)  # those refused together should not come back together
            return asked + spread * random.random() * max(1.0, asked)
        if error.kind == "connection":
            return 0.05 * random.random()
        self.counted += 1
        if self.counted >= self._allowed:
            return None
        if not self._budget.take():
            return LONGEST_WAIT_S
        wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (self.counted - 1)) * (0.5 + 0.5 * random.random())
        return max(wait, error.retry_after_s or 0.0)
