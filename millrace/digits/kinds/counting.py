"""How many digits of a kind there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

from millrace.digits.claim_vocabulary import read_value as read_kind
from millrace.digits.geometry import COUNTABLE, Selector, Selectors, members, one_value
from millrace.digits.references import absent, category_words, kinds_of_digits
from millrace.digits.scenes.scene import Scene
from millrace.probing.annotated import NOT_ANSWERABLE, UNCLEAR, Truth
from millrace.qa.annotated import Reading
from millrace.qa.writing.answer_vocabulary import COUNTS, read_value

__all__ = ["ASPECTS", "CLAIM", "PIPELINE", "SUBJECT", "read_answer", "read_value", "readings", "subjects", "truth"]

CLAIM = "counting_object_instances"
PIPELINE = "object_counting"
ASPECTS = {"COUNT": "count"}
SUBJECT = {"OBJECT_TYPE": category_words}


def subjects(scene: Scene, rng: Random, *, answerable: bool) -> Iterator[Selectors]:
    """Kinds of digits, there or not."""
    if answerable:
        return kinds_of_digits(scene, rng)
    return iter([{"OBJECT_TYPE": way} for way in absent(scene, rng)])


def truth(scene: Scene, selectors: Mapping[str, Selector]) -> Truth:
    """Their number, where none is so hidden that it might or might not be one of them."""
    found = members(scene, selectors["OBJECT_TYPE"])
    if found is None:
        return UNCLEAR
    return one_value("COUNT", str(len(found))) if found else NOT_ANSWERABLE


def readings(scene: Scene, selectors: Mapping[str, Selector], truth: Truth) -> list[Reading]:
    """Every other number from 0 to 7."""
    kind = selectors["OBJECT_TYPE"]
    right = int(truth.correct.get("COUNT", 0))
    if right >= len(COUNTS) or any(digit.visible < COUNTABLE for digit in scene.digits):
        return []
    wrong = {
        str(other): "numeric_neighbour" if abs(other - right) <= 2 else "other_number"
        for other in range(len(COUNTS))
        if other != right
    }
    return [Reading("count", f"count of {' and '.join(sorted(kind)) or 'all'}", (str(right),), wrong)]


def read_answer(slot: str, text: str) -> str | None:
    """A number."""
    del slot
    return read_kind("count", text)
