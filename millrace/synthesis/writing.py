"""Plan first, words last: renders a chain as a question in English or Chinese.

The words carry no information of their own: the same chain always gives the same sentence, so a checker can render it again
and compare. Each environment brings its frames (sentence patterns, alternatives separated by `|`) and each operator its phrase.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from millrace.records.trajectories import Chain
from millrace.run.ids import canonical, random_for
from millrace.synthesis.environments import Environment, Value

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def write_question(environment: Environment, chain: Chain, language: str) -> str:
    """The question that a chain stands for.

    Raises:
        ValueError: the environment has no words in that language.
    """
    said = worded(environment, chain, language)
    question = ("" if language == "zh" else " ").join(part for part in (*said.before, *said.hops, said.ask) if part)
    return question.replace("\n\n ", "\n\n")  # a start that ends in an empty line, as tables do


@dataclass(frozen=True, slots=True)
class Worded:
    """The parts of a question."""

    before: list[str]
    """The start, and how the world is read."""
    hops: list[str]
    """A sentence for each hop; empty for a step that only finds the place."""
    ask: str
    names: list[str]
    """What the question calls its values: the start first, then each hop's."""


def worded(environment: Environment, chain: Chain, language: str) -> Worded:
    """The question that a chain stands for, in its parts.

    Raises:
        ValueError: the environment has no words in that language.
    """
    frames = environment.frames.get(language)
    if frames is None:
        raise ValueError(f"the environment {environment.name} has no words in '{language}'")
    start = chain.start
    bare = {"start": msgspec.structs.asdict(start), "hops": [[hop.op, hop.args] for hop in chain.hops]}
    rng = random_for(0, "wording", language, canonical(bare).decode())
    letters = iter(frames.get("letters", LETTERS))
    opening = frames.get(f"start:{start.kind}", frames.get("start", ""))
    named = frames.get("named", "")
    before, hops = [], []
    reference = named.format(value=start.value) if named else next(letters)
    if opening:
        before.append(_choose(opening, rng).format(v=reference, value=start.value, **start.args))
    rules = dict.fromkeys(rule.format(**hop.args) for hop in chain.hops for rule in environment.operators[hop.op].rules)
    before += [frames[f"rule:{name}"] for name in rules]
    references = [reference]
    for hop in chain.hops:
        operator = environment.operators[hop.op]
        if not operator.evidence:
            references.append(references[-1])
            hops.append("")
            continue
        letter = next(letters)
        said = operator.zh if language == "zh" else operator.en
        words = _words(frames, hop.args) | {"x": references[-1], "v": letter}
        if "other" in hop.args:
            words["other"] = references[hop.args["other"]]
        phrase = operator.say(hop.args, language) if operator.say is not None else said.format(**words)
        hops.append(phrase if "{v}" in said else _choose(frames["hop"], rng).format(v=letter, phrase=phrase))
        references.append(letter)
    return Worded(before, hops, _choose(frames["ask"], rng).format(v=references[-1]), references)


def answer_text(value: Value) -> str:
    """A value as an answer is written."""
    if isinstance(value, list):
        return ", ".join(str(part) for part in value)
    return str(value)


def normalised(text: str) -> str:
    """What two spellings of the same answer have in common: case, spaces and a final stop are no difference."""
    return re.sub(r"\s+", " ", text).strip().rstrip(".。").casefold()


def language_of(text: str, wished: str) -> str:
    """`en` or `zh`: as wished, or with `auto` the language the seed is written in."""
    if wished != "auto":
        return wished
    return "zh" if re.search(r"[\u4e00-\u9fff]", text) else "en"


def _choose(patterns: str, rng: random.Random) -> str:
    return rng.choice(patterns.split("|"))


def _words(frames: Mapping[str, str], args: Mapping[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for name, value in args.items():
        said[name] = value
        if isinstance(value, str):
            said[f"{name}_said"] = frames.get(f"word:{value}", value)
    return said
