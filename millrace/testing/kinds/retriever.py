"""Retrievers of the environment `rag`: the best first, the same each time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from millrace.plugins.loading import load_plugin
from millrace.testing.kinds import kept

FOLDER = "millrace.synthesis.environments.rag.retrievers"
WORD = "retriever"

TEXTS = [
    "The doctor treats a patient in the hospital.",
    "A physician sees the patient in a hospital.",
    "The physician writes a prescription.",
    "A ship sails over the sea with its captain.",
    "The captain of the ship sees the sea.",
    "The sailor and the captain steer the ship.",
]


@contextlib.contextmanager
def opened(name: str, settings: Mapping[str, Any]) -> Iterator[ModuleType]:
    """The module; a retriever has no settings."""
    del settings
    yield load_plugin(FOLDER, name, WORD)


def it_ranks_the_best_first_and_says_the_same_each_time(module: ModuleType) -> None:
    """Positions of texts with scores above 0, no more than were asked for."""
    found = module.open_retriever(TEXTS).search("the captain steers a ship", 3)
    scores = [score for _, score in found]
    kept(found and found[0][0] in (3, 4, 5), f"the best text for 'the captain steers a ship' is {found[:1]}, and not of a ship")
    kept(scores == sorted(scores, reverse=True), f"the scores do not fall: {scores}")
    kept(all(score > 0 for score in scores), f"a score must be above 0: {scores}")
    kept(len(found) <= 3, f"asked for 3, it gave {len(found)}")
    kept(list(found) == list(module.open_retriever(TEXTS).search("the captain steers a ship", 3)), "it said something else again")


def a_query_that_nothing_answers_and_a_single_text_are_fine(module: ModuleType) -> None:
    """An empty list, and the one there is."""
    kept(list(module.open_retriever(TEXTS).search("zebra 斑马", 3)) == [], "it finds texts for words that none of them has")
    found = module.open_retriever(["only one text"]).search("text", 5)
    kept([place for place, _ in found] == [0], f"of a single text it gives {found}")


def no_texts_at_all_are_refused(module: ModuleType) -> None:
    """By a ValueError."""
    try:
        module.open_retriever([])
    except ValueError:
        return
    raise AssertionError("an index over no texts must be refused by a ValueError")


PROMISES = (
    it_ranks_the_best_first_and_says_the_same_each_time,
    a_query_that_nothing_answers_and_a_single_text_are_fine,
    no_texts_at_all_are_refused,
)
