"""How answers and questions are put into the words of one language. Whose they are is the matter of an annotation kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import NamedTuple

import msgspec

from millrace.qa.writing.answer_vocabulary import NONE
from millrace.records.outcome import Selector

BLANK = "____"
"""What stands for the gap of a fill-in-the-blank question."""


class YesNo(NamedTuple):
    """The two answers of a yes/no question."""

    yes: str
    no: str


YES_NO = {"en": YesNo("Yes", "No"), "zh": YesNo("是", "否")}
"""By language."""


class Wordings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One language's words, usually read from a YAML file."""

    names: dict[str, dict[str, str]]
    """Aspect → value → how it is said inside a sentence; what is not listed is said as it is spelt."""
    options: dict[str, dict[str, str]]
    """The same for an option of its own."""
    fills: dict[str, dict[str, str]]
    """The same for a gap."""
    none: dict[str, str]
    """Aspect → how an option says that the subject is not there."""
    questions: dict[str, dict[str, list[str]]]
    """Aspect → form of question → templates. `presence` has the questions whether a subject is there."""
    explanations: dict[str, str]
    """Aspect → a true sentence that says why an answer is right; `present` and `absent` for questions of presence."""
    nothing: dict[str, str]
    """Aspect → the same where the subject is not there."""

    def words(self, selectors: Mapping[str, Selector], rng: Random) -> dict[str, str]:
        """What to put into a template's places, from the selectors of a claim."""
        raise NotImplementedError

    def name(self, aspect: str, value: str) -> str:
        """A value inside a sentence."""
        return self.names.get(aspect, {}).get(value, value)

    def option(self, aspect: str, value: str) -> str:
        """A value as an option."""
        if value == NONE:
            return self.none[aspect]
        return self.options.get(aspect, {}).get(value) or self.name(aspect, value)

    def fill(self, aspect: str, value: str) -> str:
        """A value in a gap."""
        return self.fills.get(aspect, {}).get(value) or self.name(aspect, value)

    def templates(self, aspect: str, question_type: str) -> list[str]:
        """The wordings of a kind of question; empty where it can't be asked."""
        return self.questions.get(aspect, {}).get(question_type, [])

    def say(self, template: str, words: Mapping[str, str], value: str = "") -> str:
        """A template with its words in place, as a sentence."""
        text = template.format(**words, value=value)
        text = re.sub(r"\b([Aa]) (?=(?:orange|8|11|18)\b)", r"\1n ", text)
        return text[:1].upper() + text[1:]
