"""When going on can only fail: what a row of failed requests says about the run and not about the requests."""

from __future__ import annotations

import time

from millrace.llm.failures import AttemptFailed

ALIKE = 8
"""So many refusals alike before the first success mean that the request's form is wrong and not the requests."""

REFUSED = 3
"""So many requests forbidden before the first success mean that the key may do nothing here."""

IN_A_ROW = 20
"""So many requests given up one after the other, with no answer for a fifth of `give_up_after_s`, end the run; all of them
forbidden (a key that has been revoked, an account that has been closed), they end it at once.
"""


class Hopeless:
    """Counts what became of requests. A pure state machine."""

    def __init__(self, give_up_after_s: float) -> None:
        self.answered = False
        """Some request was answered, now or in an earlier process: then a refusal says something about its own request."""
        self._give_up_after_s = give_up_after_s
        self._alike: tuple[int | None, int] = (None, 0)
        self._in_a_row = 0
        self._last_success = time.monotonic()

    def succeeded(self) -> None:
        """A request was answered."""
        self.answered = True
        self._in_a_row = 0
        self._alike = (None, 0)
        self._last_success = time.monotonic()

    def failed(self, error: AttemptFailed) -> str | None:
        """A request was given up: why the run should end, or None."""
        self._in_a_row += 1
        status, count = self._alike
        self._alike = (error.status, count + 1 if error.status == status else 1)
        if error.fatal or error.status in {401, 402}:
            return error.detail
        if error.kind == "credentials" and self._in_a_row >= REFUSED and not self.answered:
            return f"the last {self._in_a_row} requests were refused: {error.detail}"
        if error.kind == "credentials" and self._alike[1] >= IN_A_ROW:
            return f"the last {self._alike[1]} requests were refused: {error.detail}"
        if not self.answered and error.kind == "rejected" and self._alike[1] >= ALIKE:
            return f"the first {self._alike[1]} requests were all refused alike: {error.detail}"
        if self._in_a_row >= IN_A_ROW and time.monotonic() - self._last_success > self._give_up_after_s / 5:
            return f"the last {self._in_a_row} requests all failed: {error.detail}"
        return None
