"""Yes/no questions for a model that fills gaps: the value that is stated is taken out, filled in anew, and compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from millrace.digits.baseline.choosing import ABSTAIN, HALVES, NEVER, LogProbs, log_sum, place_of
from millrace.digits.claim_vocabulary import ANSWERS, COUNTS, GAP, PHRASES, answer_index, words_of
from millrace.lake.places import QUARTERS, REGIONS

SEVERAL_RIGHT = ("quarter", "place")
"""Kinds with more than one right answer at a time: what is not much less likely than the likeliest is then a yes."""

PRESENCE = "presence"


class Stated(NamedTuple):
    """A value that a sentence may be stating, and the sentence with a gap in its place."""

    kind: str
    values: tuple[str, ...]
    """More than one: all of them have to hold."""
    rest: tuple[str, ...]


def decide_statement(words: Sequence[str], ask: Callable[[Sequence[str]], LogProbs]) -> bool:
    """Whether a statement or yes/no question is true, as far as the model behind `ask` would fill it in that way.

    Which of its words are the value, the model decides as well: those whose kind it expects in the gap. A question without a
    value asks whether something is there.
    """
    plain = ask(list(words))
    choices = [(_expected(PRESENCE, plain), plain[place_of(PRESENCE, "yes")] > plain[ABSTAIN])]
    for stated in stated_values(words):
        said = ask(stated.rest)
        choices.append((_expected(stated.kind, said), _agrees(stated, said)))
    return max(choices)[1]


def stated_values(words: Sequence[str]) -> list[Stated]:
    """Every run of words that could be a value, as each kind that it could be of."""
    found = []
    for start in range(len(words)):
        for kind, values, length in _values_at(words, start):
            found.append(Stated(kind, values, (*words[:start], GAP, *words[start + length :])))
    return found


def _values_at(words: Sequence[str], start: int) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """(kind, values, words taken) of every value that begins at a place."""
    word = words[start]
    if word[0].isdigit() and list(words[start + 1 : start + 2]) == ["percent"]:
        yield "percent", (f"{word}%",), 2
    elif word.isdigit() and len(word) == 1:
        yield "digit", (f"digit {word}",), 1
        if word in COUNTS:
            yield "count", (word,), 1
    for half, quarters in HALVES.items():
        if tuple(words[start : start + 2]) == half:
            yield "quarter", quarters, 2
    for (kind, value), spellings in SPELLINGS.items():
        for spelling in spellings:
            if tuple(words[start : start + len(spelling)]) == spelling:
                yield kind, (value,), len(spelling)


SPELLINGS: Mapping[tuple[str, str], frozenset[tuple[str, ...]]] = {
    **{("region", value): frozenset([tuple(value.split())]) for value in REGIONS},
    **{("quarter", value): frozenset([tuple(value.split())]) for value in QUARTERS},
    **{
        (kind, value): frozenset([tuple(words_of(value)), *(tuple(phrase.split()) for phrase in phrases)])
        for kind, spellings in PHRASES.items()
        if kind != PRESENCE
        for value, phrases in spellings.items()
    },
}
"""How the values that are no numbers are written, in words of `words_of`."""


def _expected(kind: str, said: LogProbs) -> float:
    """How much of what the model says, abstaining aside, is of a kind."""
    whole = log_sum([said[place] for place in range(ABSTAIN)])
    return log_sum([said[place] for place in _places(kind)]) - whole


def _agrees(stated: Stated, said: LogProbs) -> bool:
    """Whether the model would have said what is stated."""
    best = max(said[place] for place in _places(stated.kind))
    if said[ABSTAIN] > best:
        return False
    places = [answer_index(stated.kind, value) for value in stated.values]
    score = min(NEVER if place is None else said[place] for place in places)
    if stated.kind == "percent" and places[0] is not None:
        score = max(said[place] for place in _places("percent") if abs(place - places[0]) <= 1)
    return score >= best - (math.log(3) if stated.kind in SEVERAL_RIGHT else 0)


def _places(kind: str) -> list[int]:
    return [place for place, (of, _) in enumerate(ANSWERS) if of == kind]
