"""Guessing without the picture: how far do the words of question and options alone lead?

The guesser is a naive Bayes classifier over hashed words, trained on the other folds (an image's questions are all in one fold).
It knows how often each option was right, beside which words of the question and which other options, how long it is, how large
among its numbers, and where it stands. A set whose answers it finds more often than chance gives something away.

Covers: what the wording, the frequency of values and the position give away. Does not cover: knowledge of the world, for which a
language model would have to be asked.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from millrace.records.question import Item
from millrace.records.summaries import BlindGuess
from millrace.reporting.intervals import wilson

FOLDS = 5
BUCKETS = 1 << 18
"""Buckets that words are hashed into: a few times more than a large set has different features."""

SMALLEST_CELL = 25
"""Groups (pipeline and form) of fewer questions are judged with the others of their form only: chance moves them too far."""

GAP_CHANCE = 0.4
"""What counts as chance for a gap, which has no options: naming always the commonest answer may reach this (`balance.MOST`)."""


class Guess(NamedTuple):
    """What the guesser made of one question."""

    id: str
    cell: str
    """Pipeline and form: the group that is tested."""
    chance: float
    """Of being right by blind luck."""
    right: bool
    margin: float
    """How sure it was: log-odds of its choice over the next best."""


class BlindGuesser:
    """Counts in a first pass over all questions, guesses in a second: memory does not grow with the set.

    Args:
        words: whether it reads the questions' words as well. It knows more then, but more diluted: the check tries both.
    """

    def __init__(self, *, words: bool) -> None:
        self._words = words
        self._counts = np.zeros((FOLDS, 2, BUCKETS), np.int32)
        self._totals = np.zeros((FOLDS, 2), np.int64)
        self._whole: NDArray[np.int64] | None = None
        self._gaps: dict[str, NDArray[np.int64]] = {}
        self._fillings: dict[str, dict[str, int]] = {}

    def learn(self, item: Item) -> None:
        """Count one question."""
        fold = fold_of(item)
        if not item.options:
            cell = cell_name(item)
            known = self._fillings.setdefault(cell, {})
            place = known.setdefault(item.answer, len(known))
            table = self._gaps.setdefault(cell, np.zeros((FOLDS, 4096), np.int64))
            table[fold, place] += 1
            return
        for key, features in option_features(item, words=self._words):
            right = int(key == item.answer)
            self._counts[fold, right, features] += 1  # an option's features are all different
            self._totals[fold, right] += 1

    def guess(self, item: Item) -> Guess:
        """Guess one question from what all other folds hold."""
        return self._fill(item) if not item.options else self._choose(item)

    def _choose(self, item: Item) -> Guess:
        fold = fold_of(item)
        if self._whole is None:
            self._whole = self._counts.sum(axis=0)
        totals = self._totals.sum(axis=0) - self._totals[fold]
        scores = {}
        for key, features in option_features(item, words=self._words):
            seen = self._whole[:, features] - self._counts[fold][:, features] + 0.5
            scores[key] = float(np.sum(np.log(seen[1] / (totals[1] + 1)) - np.log(seen[0] / (totals[0] + 1))))
        ranked = sorted(scores, key=lambda key: (-scores[key], item.options[key]))
        margin = scores[ranked[0]] - scores[ranked[1]]
        return Guess(item.id, cell_name(item), 1 / len(scores), ranked[0] == item.answer, margin)

    def _fill(self, item: Item) -> Guess:
        """For a gap: always the commonest answer of its pipeline. See `GAP_CHANCE`."""
        cell = cell_name(item)
        counts = self._gaps[cell].sum(axis=0) - self._gaps[cell][fold_of(item)]
        best = int(np.argmax(counts))
        answers = self._fillings[cell]
        right = answers[item.answer] == best
        margin = float(np.log((counts[best] + 1) / (np.sort(counts)[-2] + 1)))
        return Guess(item.id, cell, max(GAP_CHANCE, 1 / len(answers)), right, margin)


def option_features(item: Item, *, words: bool) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Per option the buckets of what can be known of it without the picture."""
    cell = cell_name(item)
    options = item.options
    asked = sorted(set(re.findall(r"\w+", item.question.casefold()))) if words else []
    numbers = {key: float(found[0]) for key, text in options.items() if (found := re.findall(r"\d+(?:\.\d+)?", text))}
    for place, (key, text) in enumerate(options.items()):
        said = text.casefold()
        features = [f"{cell}|{said}", f"{cell}|at {place}", *(f"{cell}|{said}|{word}" for word in asked)]
        if item.question_type == "yes_no":
            features.append(f"{cell}|{said}|states {item.task.statement}")
        elif words:
            features += [f"{cell}|beside {other.casefold()}|{said}" for other in options.values() if other != text]
        shorter = sum(len(other) < len(text) for other in options.values())
        features.append(f"{cell}|longer than {shorter}")
        if key in numbers:
            features.append(f"{cell}|{len(numbers)} numbers, above {sum(value < numbers[key] for value in numbers.values())}")
        yield key, np.array(sorted({zlib.crc32(feature.encode()) % BUCKETS for feature in features}))


def cell_name(item: Item) -> str:
    """The group of questions that is tested together."""
    return f"{item.pipeline_name}/{item.question_type}"


def fold_of(item: Item) -> int:
    """An image's fold: all its questions are guessed by those who never saw it."""
    return zlib.crc32(item.image.key.encode()) % FOLDS


def tally(guesses: Iterable[Guess], z: float) -> BlindGuess:
    """How often a group was guessed, with the Wilson interval at `z` standard deviations."""
    listed = list(guesses)
    right = sum(guess.right for guess in listed)
    chance = sum(guess.chance for guess in listed) / len(listed) if listed else 0.0
    low, high = wilson(right, len(listed), z) or (None, None)
    return BlindGuess(n=len(listed), right=right, chance=round(chance, 4), low=low, high=high)
