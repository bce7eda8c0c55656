"""What a family is: problems of one kind, drawn at a level of difficulty, solved in two ways, said in English and Chinese.

One file in one of the rooms beside this is one family; its file name is its name in a config. A family of one's own is a module
with the same functions, named by its dotted path. How to write one: docs/extending/family.md;
`python -m millrace.testing mine.family` checks it.

Words used here: a **problem** is a mapping of JSON values that says everything about it; the **level** is the dial, 1 to 5; the
**effort** is a measure of a problem that grows with the level, and that anybody can compute again.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from millrace.plugins.contracts import optional

Problem = Mapping[str, Any]
"""Everything that a question says, as JSON values."""

LEVELS = range(1, 6)
"""The dial."""


class Plugin(Protocol):
    """What the module of a family has."""

    ANSWER_TYPE: str
    """How an answer is scored: a name in `millrace.synthesis.scoring.answers`."""
    TOPIC: str
    """A pattern of the words, English and Chinese, by which a seed asks for it."""
    DIAL: str
    """What grows with the level, in a sentence."""

    def draw(self, rng: random.Random, level: int) -> Problem:
        """A problem with exactly one answer that is worth asking for; it depends on its arguments alone."""
        ...

    def solve(self, problem: Problem) -> Any:
        """The answer, as its author finds it."""
        ...

    def verify(self, problem: Problem) -> Any:
        """The answer again, by another method, with no code of `solve`; None where there is none, or more than one."""
        ...

    def effort(self, problem: Problem) -> float:
        """How much there is to do, in the unit that `DIAL` names."""
        ...

    def say(self, problem: Problem, language: str) -> str:
        """The question, in `en` or `zh`; two different problems are never said in the same words."""
        ...

    @optional
    def slips(self, problem: Problem) -> Sequence[Any]:
        """Answers that a usual mistake gives; the caller leaves out one that happens to be right."""
        del problem
        return ()
