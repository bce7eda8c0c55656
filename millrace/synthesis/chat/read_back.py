"""Reads a question back into the operators of its environment, where it is said in their words; the verifier then computes it.

Two forms are read, in the languages of its frames: nested (`What is the ISO 3166 code on the page of the entry listed first on
the page of Europe/Helsinki?`) and step by step (`Let A be the only zone on the page of "Finland". … What is B?`), both behind the
sentences that say which world is meant and how it is read. A question is read only as a whole: a word too many, a reading rule
of an operator that it does not state, a world that it does not name, a letter that stands for nothing, or two readings with
different values make it one that is not read.

The verifier computes with values that a model wrote, so it runs in the tools' process, which is ended when that takes too long.

Covers: every environment with operators and a verifier, a user's own too. Does not cover: any other wording; constants that the
words do not show; environments whose tools have no process of their own to be ended (python, whose code is run again instead).
"""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec

from millrace.records.trajectories import Arguments
from millrace.synthesis.environments import Action, Environment, Observation, Operator, Unprovable, Value, Verifier
from millrace.synthesis.scoring.answers import type_of
from millrace.synthesis.writing import answer_text

MAX_HOPS = 12
MAX_CHARS = 4_000
"""A longer question is not read."""

MAX_READINGS = 64
"""How many readings of one phrase are followed."""

QUOTES = "\"'“”‘’`「」《》"
SAID_INPUT = "x"


@dataclass(frozen=True, slots=True)
class Reading:
    """A value that was computed, and what it is."""

    value: Value
    kind: str
    """Of operators' `takes` and `gives`; empty for a name that the question gives."""
    values: tuple[Value, ...]
    """The chain up to it."""
    last: Operator | None = None


@dataclass(slots=True)
class _Reader:
    environment: Environment
    verifier: Verifier
    language: str
    named: dict[str, Reading] = field(default_factory=dict)
    """What the sentences so far have given a name."""
    used: list[Operator] = field(default_factory=list)

    def expression(self, text: str, depth: int = 0) -> list[Reading]:
        """All readings of a phrase."""
        text = text.strip()
        if text in self.named:
            return [self.named[text]]
        found: list[Reading] = []
        if depth < MAX_HOPS:
            for operator in self.environment.operators.values():
                for words in _matches(operator, self.language, text):
                    found += self._hop(operator, words, depth)
                    if len(found) > MAX_READINGS:
                        return found
        name = text.strip(QUOTES).strip()
        if not found and len(name) > 1 and not re.search(r"[.。;；?？](?:\s|$)", name):
            found.append(Reading(name, "", (name,)))
        return found

    def _hop(self, operator: Operator, words: Mapping[str, str], depth: int) -> Iterator[Reading]:
        for inner in self.expression(words[SAID_INPUT], depth + 1):
            if inner.kind not in ("", operator.takes):
                continue
            values = inner.values
            if inner.kind == "" and operator.takes == "integer":
                values = tuple(int(value) if re.fullmatch(r"-?\d{1,15}", str(value)) else value for value in values)
            try:
                args = self._constants(words, values)
                value = self.verifier.apply(operator.name, args, list(values))
            except (Unprovable, ValueError, KeyError, IndexError, TypeError, AttributeError):
                continue  # the verifier knows no such thing: it is another reading, or none
            self.used.append(operator)
            yield Reading(value, operator.gives, (*values, value), operator)

    def _constants(self, words: Mapping[str, str], values: Sequence[Value]) -> Arguments:
        args: Arguments = {}
        for name, said in words.items():
            if name in (SAID_INPUT, "v"):
                continue
            if name == "other":
                other = self.named[said.strip()].value if said.strip() in self.named else said.strip().strip(QUOTES)
                args[name] = list(values).index(other)
            elif name.endswith("_said"):
                args[name.removesuffix("_said")] = self._word(said)
            else:
                args.setdefault(name, int(said) if re.fullmatch(r"-?\d+", said) else said.strip().strip(QUOTES))
        return args

    def _word(self, said: str) -> str:
        frames = self.environment.frames[self.language]
        return next((key.removeprefix("word:") for key, word in frames.items() if key.startswith("word:") and word == said), said)


TOOL = "read back"
"""What the tools' process is asked for, like a tool."""

WITHIN_S = 10.0


class Computed(msgspec.Struct, frozen=True):
    """What a question's answer is, by the verifier."""

    answer: str
    answer_type: str


def computed_apart(environment: Environment, question: str) -> Computed | None:
    """The answer to a question, computed in the tools' process; None: it cannot be read, or not within its time."""
    host = next((tool.host for tool in environment.tools.values() if tool.host is not None), None)
    if host is None or environment.verifier is None or not _names_its_world(environment, question):
        return None
    seen = host.call_all([Action(TOOL, {"question": question})], timeout_s=WITHIN_S, max_chars=MAX_CHARS)[0]
    return msgspec.json.decode(seen.text, type=Computed) if seen.status == "ok" else None


def answer_here(environment: Environment, question: str) -> Observation:
    """The same in this process, as a tool answers."""
    reading = read_back(environment, question)
    if reading is None or reading.last is None:
        return Observation("error", "it cannot be read", "refused")
    kind = reading.last.answer_type or type_of(reading.value)
    return Observation("ok", msgspec.json.encode(Computed(answer_text(reading.value), kind)).decode())


def _names_its_world(environment: Environment, question: str) -> bool:
    """Whether it begins as a question of this environment does: nothing is computed for that."""
    text = " ".join(question.split())
    for frames in environment.frames.values():
        starts = [one for key, frame in frames.items() if key == "start" or key.startswith("start:") for one in frame.split("|")]
        if any(one and _pattern(one, whole=False).match(text) for one in starts) or not any(starts):
            return True
    return False


def read_back(environment: Environment, question: str) -> Reading | None:
    """The value that a question asks for, computed by the verifier; None: it cannot be read, or not in one way only."""
    verifier = environment.verifier
    if verifier is None or not environment.operators or len(question) > MAX_CHARS:
        return None
    for language in environment.frames:
        found = _read(_Reader(environment, verifier, language), " ".join(question.split()))
        if found is not None:
            return found
    return None


def _read(reader: _Reader, text: str) -> Reading | None:
    frames = reader.environment.frames[reader.language]
    text, stated = _without_rules(frames, text)
    text, named = _without_start(reader, frames, text)
    sentences = [part.strip() for part in re.split(r"(?<=[.?])\s+(?=[A-Z])|(?<=[。？])", text) if part.strip()]
    if not sentences or not named:
        return None
    for sentence in sentences[:-1]:
        if not _name_step(reader, frames, sentence):
            return None
    readings: list[Reading] = []
    for words in _framed(frames.get("ask", ""), sentences[-1]):
        readings += reader.expression(words["v"])
    computed = [reading for reading in readings if reading.last is not None and reading.last.answers]
    if len({repr(reading.value) for reading in computed}) != 1:
        return None
    needed = {rule for operator in reader.used for rule in operator.rules if "{" not in rule}
    return computed[0] if needed <= stated else None


def _name_step(reader: _Reader, frames: Mapping[str, str], sentence: str) -> bool:
    """Whether a sentence gives a name to a value; it then has it."""
    for words in _framed(frames.get("hop", ""), sentence):
        readings = [found for found in reader.expression(words["phrase"]) if found.last is not None]
        if len({repr(found.value) for found in readings}) == 1:
            reader.named[words["v"].strip()] = readings[0]
            return True
    return False


def _without_rules(frames: Mapping[str, str], text: str) -> tuple[str, set[str]]:
    """(the text without the sentences that say how the world is read, the names of those)."""
    stated = set()
    for key, sentence in frames.items():
        if key.startswith("rule:") and sentence in text:
            text = text.replace(sentence, " ", 1)
            stated.add(key.removeprefix("rule:"))
    return " ".join(text.split()), stated


def _without_start(reader: _Reader, frames: Mapping[str, str], text: str) -> tuple[str, bool]:
    """(the text without the sentence that says where it starts, whether the world is named); its value has its name then."""
    starts = [frame for key, frame in frames.items() if key == "start" or key.startswith("start:")]
    for pattern in (one for frame in starts for one in frame.split("|") if one):
        sentence = _pattern(pattern, whole=False).match(text)
        if sentence is None:
            continue
        words = sentence.groupdict()
        if "v" in words:
            value = _value(words.get("value") or words["v"].strip(QUOTES))
            reader.named[words["v"].strip()] = Reading(value, "", (value,))
        return text[sentence.end() :].strip(), True
    return text, not any(starts)


def _value(said: str) -> Value:
    """A start's value from its words: a number, a text in quotation marks, or a name as it stands."""
    try:
        value = ast.literal_eval(said)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return said
    return value if isinstance(value, int | str) else said


def _framed(frame: str, sentence: str) -> Iterator[dict[str, str]]:
    for pattern in frame.split("|"):
        found = _pattern(pattern).fullmatch(sentence)
        if found:
            yield {name: value for name, value in found.groupdict().items() if value is not None}


def _matches(operator: Operator, language: str, text: str) -> Iterator[dict[str, str]]:
    said = operator.zh if language == "zh" else operator.en
    if said and "{x}" in said:
        found = _pattern(said).fullmatch(text)
        if found:
            yield dict(found.groupdict())


@lru_cache(maxsize=4_096)
def _pattern(template: str, *, whole: bool = True) -> re.Pattern[str]:
    """A template of words as a pattern; a name that stands in it twice must be the same both times."""
    parts: list[str] = []
    seen: set[str] = set()
    for literal, name, _, _ in string.Formatter().parse(template):
        parts.append(re.escape(literal).replace(r"\ ", r"\s+"))
        if name is None:
            continue
        if not name.isidentifier():  # an attribute of a constant: the words do not show the constant itself
            parts.append(".+")
            continue
        parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>.+)" if whole else f"(?P<{name}>[^.。]+?)")
        seen.add(name)
    return re.compile("".join(parts))
