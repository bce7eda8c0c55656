"""From what a model finds likely to what it says: a claim's slots, one of several options, a free answer.

Everything here works on a distribution over `vocabulary.ANSWERS` and knows nothing of networks.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence

from millrace.digits.claim_vocabulary import ANSWERS, KINDS, NOT_RELATED, SLOT_KINDS, answer_index, percent, read_value, words_of

LogProbs = Sequence[float]
"""Log-probabilities of `ANSWERS`, in their order."""

NEVER = -30.0
"""Log-probability of what a model has no answer for."""

ABSTAIN = len(ANSWERS) - 1

HALVES = {
    ("top", "half"): ("top left", "top right"),
    ("bottom", "half"): ("bottom left", "bottom right"),
    ("left", "half"): ("top left", "bottom left"),
    ("right", "half"): ("top right", "bottom right"),
}
"""A half of the picture, as the quarters it is made of."""

ABSENT_WORDS = ("there is not", "not there", "every part has", "every quarter has")
"""How an option says that the question does not apply, in words of `words_of`."""


def fill_slots(slots: Mapping[str, Sequence[str]], said: Mapping[str, LogProbs]) -> tuple[dict[str, str] | None, float]:
    """The likeliest value for every slot, or None for abstaining; with the probability of what is said (geometric mean).

    Args:
        slots: by slot the allowed values, empty for any; a value comes back in the words it is listed with.
        said: by slot the model's distribution.
    """
    values: dict[str, str] = {}
    filled, abstained = 0.0, 0.0
    for slot, allowed in slots.items():
        candidates = slot_values(slot, allowed)
        if not candidates:
            return None, math.exp(said[slot][ABSTAIN])
        best = max(candidates, key=lambda place: said[slot][place])
        values[slot] = between_steps(said[slot]) if ANSWERS[best][0] == "percent" and not allowed else candidates[best]
        filled += said[slot][best]
        abstained += said[slot][ABSTAIN]
    if abstained > filled:
        return None, math.exp(abstained / len(slots))
    return values, math.exp(filled / len(slots))


def between_steps(said: LogProbs) -> str:
    """A percentage that the likeliest step and its neighbours agree on: finer than the steps themselves."""
    steps = [place_of("percent", step) for step in KINDS["percent"]]
    best = max(steps, key=lambda place: said[place])
    near = [place for place in steps if abs(place - best) <= 1]
    weights = [math.exp(said[place] - said[best]) for place in near]
    logs = [math.log(percent(ANSWERS[place][1])) for place in near]
    mean = sum(weight * log for weight, log in zip(weights, logs, strict=True)) / sum(weights)
    return f"{math.exp(mean):.2g}%"


def slot_values(slot: str, allowed: Sequence[str]) -> dict[int, str]:
    """Places in `ANSWERS` of what a slot may be filled with, and the words for each."""
    kind = SLOT_KINDS.get(slot)
    if not allowed:
        return {place: value for place, (of, value) in enumerate(ANSWERS[:-1]) if kind in {None, of}}
    found: dict[int, str] = {}
    for text in allowed:
        for of in [kind] if kind else KINDS:
            value = read_value(of, text)
            place = None if value is None else answer_index(of, value)
            if place is not None:
                found.setdefault(place, text)
    return found


def choose_option(options: Mapping[str, str], said: LogProbs) -> str:
    """The key of the likeliest option. An option that can't be read is compared by its letters with the likeliest answer."""
    scores = {key: option_score(text, said) for key, text in options.items()}
    best = max(scores, key=lambda key: scores[key])
    if scores[best] > NEVER:
        return best
    answer = free_answer(said)
    return max(options, key=lambda key: difflib.SequenceMatcher(None, options[key].lower(), answer).ratio())


def option_score(text: str, said: LogProbs) -> float:
    """How likely an option is, over all the readings its words allow."""
    words = words_of(text)
    joined = " ".join(words)
    if any(phrase in joined for phrase in ABSENT_WORDS) or words in (["0"], ["not"]) or text.strip().upper() == NOT_RELATED:
        return said[ABSTAIN]
    halves = [quarters for half, quarters in HALVES.items() if set(half) <= set(words)]
    if halves:
        return sum(said[place_of("quarter", quarter)] for quarter in halves[0]) / 2
    readings = [_reading_score(kind, value, said) for kind in KINDS if (value := read_value(kind, text)) is not None]
    return log_sum(readings) if readings else NEVER


def _reading_score(kind: str, value: str, said: LogProbs) -> float:
    """How likely a value is; a percentage between two steps takes from both, so that near options stay apart."""
    if kind != "percent":
        place = answer_index(kind, value)
        return NEVER if place is None else said[place]
    wanted = math.log(max(percent(value), 0.05))
    steps = KINDS["percent"]
    return log_sum([said[place_of(kind, step)] - ((math.log(percent(step)) - wanted) / 0.25) ** 2 / 2 for step in steps])


def free_answer(said: LogProbs) -> str:
    """The likeliest answer in words; `NOT_RELATED` for abstaining."""
    return ANSWERS[max(range(len(ANSWERS)), key=lambda place: said[place])][1]


def place_of(kind: str, value: str) -> int:
    """Where a value of the vocabulary stands in `ANSWERS`."""
    place = answer_index(kind, value)
    assert place is not None
    return place


def log_sum(logs: Sequence[float]) -> float:
    """The log of the sum of probabilities given by their logs."""
    top = max(logs)
    return top + math.log(sum(math.exp(log - top) for log in logs))
