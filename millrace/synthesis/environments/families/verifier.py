"""Proves an answer by the family's own second method; the problem is drawn again, and what the tool said is not looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from millrace.synthesis.environments import Unprovable, Value, Verifier


class FamilyVerifier(Verifier):
    """Answers by name of the family, level and seed.

    Args:
        verify: the second method of the family, on the problem that it draws.
    """

    name = "family-second-method@1"

    def __init__(self, verify: Callable[[str, int, int], Value | None]) -> None:
        self._verify = verify

    def origin(self, start: Mapping[str, Any]) -> Value:
        """What a chain sets out from; it holds no fact."""
        return start["value"]

    def apply(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Value:
        """The answer to the problem."""
        answer = self._verify(op, args["level"], args["seed"])
        if answer is None:
            raise Unprovable(f"{op}: no single answer at level {args['level']}, seed {args['seed']}")
        return answer

    def alternatives(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Sequence[Value]:
        """The answers to the family's next problems."""
        return [self._verify(op, args["level"], args["seed"] + step) for step in (1, 2, 3)]
