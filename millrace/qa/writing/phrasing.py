"""Words for subjects, answers and questions, in one language: a YAML file in phrasings/."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from random import Random
from typing import Any

import msgspec
import yaml

from millrace.qa.writing.answer_vocabulary import NONE

Selector = Mapping[str, Any]

BLANK = "____"
"""What stands for the gap of a fill-in-the-blank question."""


class Explanations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """True sentences that say why an answer is right."""

    label: str
    region: str
    direction: str
    place: str
    percent: str
    count: str
    area: str
    point: str
    turn: str
    nothing: dict[str, str]
    present: str
    absent: str


class Phrasing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One language's words. The YAML files explain the fields."""

    colours: dict[str, str]
    subject: dict[str, list[str]]
    bare: dict[str, str]
    kind: dict[str, list[str]]
    feature: dict[str, str]
    names: dict[str, dict[str, str]]
    options: dict[str, dict[str, str]]
    fills: dict[str, dict[str, str]]
    none: dict[str, str]
    answer_yes: str
    answer_no: str
    questions: dict[str, dict[str, list[str]]]
    explanations: Explanations

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

    def words(self, selectors: Mapping[str, Selector], rng: Random) -> dict[str, str]:
        """What to put for {a}, {b}, {kind}, {feature} and {bare}, from a claim's selectors."""
        said: dict[str, str] = {}
        for slot, selector in selectors.items():
            if slot in ("OBJECT_TYPE", "OBJECT_CATEGORY"):
                said["kind"] = self._filled(rng.choice(self.kind[form_of(selector)]), selector)
            elif slot == "DISTINCTIVE_FEATURE":
                said["feature"] = self._filled(self.feature[_feature_of(selector)], selector)
            elif form_of(selector) != "all":
                key = "b" if slot == "OBJECT_B" else "a"
                said[key] = self._filled(rng.choice(self.subject[form_of(selector)]), selector)
                said.setdefault("bare", self._filled(self.bare[form_of(selector)], selector))
        return said

    def say(self, template: str, words: Mapping[str, str], value: str = "") -> str:
        """A template with its words in place, as a sentence."""
        text = template.format(**words, value=value)
        text = re.sub(r"\b([Aa]) (?=(?:orange|8|11|18)\b)", r"\1n ", text)
        return text[:1].upper() + text[1:]

    def _filled(self, template: str, selector: Selector) -> str:
        return template.format(label=selector.get("label", ""), colour=self.colours.get(str(selector.get("colour", "")), ""))


def form_of(selector: Selector) -> str:
    """How a selector means its digits: `label`, `colour`, `both`, `all`."""
    if "label" in selector and "colour" in selector:
        return "both"
    return "label" if "label" in selector else "colour" if "colour" in selector else "all"


def _feature_of(selector: Selector) -> str:
    return str(selector.get("extreme") or ("upside_down" if "turn" in selector else form_of(selector)))


@lru_cache(maxsize=4)
def load_phrasing(language: str) -> Phrasing:
    """The words of `language`: a file in phrasings/."""
    text = (files("millrace.qa.writing") / "phrasings" / f"{language}.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), Phrasing)
