"""Reads a question of definitions ("Let b be …", "设 b 为…") and works it out, by phrases and how each is computed.

Shares nothing with the product: no parser, no operator, no verifier. A phrase that fits two ways with two results is ambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Ways = Mapping[str, Callable[..., Any]]
"""Pattern of a phrase, in which a letter stands for a value → what it says; gets the groups, letters as their values."""

STEPS = {
    "en": (
        r"(?:Let|Form|Write|Call) .+?[.?](?= (?:Let|Form|Write|Call|What|Find|Determine|Give|Name) |$)",
        (r"Let ([A-Za-z]) be (.+)", r"Form ([A-Za-z]), (.+)", r"Write ([A-Za-z]) for (.+)", r"Call (.+) ([A-Z])"),
    ),
    "zh": (r"(?:设|记|再令) [A-Za-z] 为.+?。(?=设|记|再令|求|请|[A-Za-z] |$)", (r"(?:设|记|再令) ([A-Za-z]) 为(.+)",)),
}


class Unread(AssertionError):
    """A phrase that no way reads, or that ways read differently."""


def answer(opening: str, question: str, language: str, ways: Ways, start: Callable[[str], Any]) -> Any:
    """The answer to a question.

    Args:
        opening: pattern of the beginning: a group for the start's letter (may be empty) and one for its value.
        question: the words.
        language: en or zh.
        ways: how phrases are computed.
        start: makes the start's value from its words.
    """
    began = re.match(opening, question, re.DOTALL)
    if not began:
        raise Unread(question)
    first = start(began["value"])
    values: dict[str, Any] = {began["name"]: first}
    last = began["name"]
    step_pattern, forms = STEPS[language]
    rest = question[began.end() :].strip()
    steps = re.findall(step_pattern, rest, re.DOTALL)
    for step in steps:
        for form in forms:
            said = re.fullmatch(form, step[:-1], re.DOTALL)
            if said:
                break
        else:
            raise Unread(step)
        name, phrase = (said[2], said[1]) if form.startswith("Call") else (said[1], said[2])
        values[name] = value_of(phrase, values, ways)
        last = name
    asked = rest[sum(map(len, steps)) + (len(steps) if language == "en" else 0) :]
    if last not in re.findall(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])", asked):
        raise Unread(f"the question asks for something else than {last}: {asked}")
    return values[last]


def value_of(phrase: str, values: Mapping[str, Any], ways: Ways) -> Any:
    """What a phrase says."""
    found = []
    for pattern, compute in ways.items():
        said = re.fullmatch(pattern, phrase, re.DOTALL)
        groups = {name: group for name, group in said.groupdict().items() if group is not None} if said else {}
        if said and all(group in values for name, group in groups.items() if name[0] == "v"):
            read = {
                name: values[group] if name[0] == "v" else int(group) if name[0] == "n" else group
                for name, group in groups.items()
            }
            found.append(compute(**read))
    if len({repr(one) for one in found}) != 1:
        raise Unread(f"{len(found)} readings of '{phrase}': {found}")
    return found[0]


def v(name: str = "v") -> str:
    """A letter."""
    return f"(?P<{name}>[A-Za-z])"


def n(name: str = "n") -> str:
    """A number."""
    return rf"(?P<{name}>\d+)"
