"""The ways to mean digits: how they are said, and which there are to choose from in a scene."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from millrace.digits.geometry import Selector, Selectors
from millrace.digits.scenes.scene import COLOURS, Scene, SceneDigit

ALL_LABELS = tuple(range(10))


def object_words(selector: Selector) -> str:
    """`the red 7` for one digit."""
    return f"the {_kind_words(selector, 'digit')}"


def category_words(selector: Selector) -> str:
    """`red digits`, `7s` for a kind of digits."""
    return f"{_kind_words(selector, 'digit')}s"


def feature_words(selector: Selector) -> str:
    """`the largest one`, `the 4`, `the red one` for one digit among its like."""
    if "extreme" in selector:
        return f"the {selector['extreme']} one"
    if "turn" in selector:
        return "the upside-down one"
    return f"the {_kind_words(selector, 'one')}"


def _kind_words(selector: Selector, noun: str) -> str:
    return " ".join([*([selector["colour"]] if "colour" in selector else []), str(selector.get("label", noun))])


def shuffled(rng: Random, found: list[Selectors]) -> Iterator[Selectors]:
    """In random order."""
    rng.shuffle(found)
    return iter(found)


def ways_to_mean(digit: SceneDigit) -> list[Selector]:
    """The three ways to mean a digit."""
    return [{"label": digit.label}, {"colour": digit.colour}, {"label": digit.label, "colour": digit.colour}]


def one_digit(scene: Scene, rng: Random, slot: str, *, answerable: bool) -> Iterator[Selectors]:
    """Subjects with one slot: every way to mean a digit that is there, or ways to mean one that is not."""
    if answerable:
        return shuffled(rng, [{slot: way} for digit in scene.digits for way in ways_to_mean(digit)])
    return iter([{slot: way} for way in absent(scene, rng)])


def kinds_of_digits(scene: Scene, rng: Random) -> Iterator[Selectors]:
    """Kinds of digits that are there, by digit and not by kind: larger numbers come up more often."""
    kinds: list[Selector] = [{"colour": digit.colour} for digit in scene.digits]
    kinds += [{"label": digit.label} for digit in scene.digits]
    kinds += [{}] * len(scene.digits)
    return shuffled(rng, [{"OBJECT_TYPE": kind} for kind in kinds])


def absent(scene: Scene, rng: Random, labels: Sequence[int] = ALL_LABELS, *, by_colour: bool = True) -> list[Selector]:
    """Selectors of digits that the scene may not have, in several ways, shuffled over the ways first.

    Args:
        labels: the digits that may be meant.
        by_colour: whether a colour alone will do.
    """
    there = sorted({(digit.label, digit.colour) for digit in scene.digits})
    ways: list[list[Selector]] = [
        [{"label": label} for label in labels],
        [{"colour": colour} for colour in COLOURS] if by_colour else [],
        [{"label": label, "colour": colour} for label in labels for colour in COLOURS],
        # Both parts are there, but not in one digit: the hardest to see through.
        [{"label": label, "colour": colour} for label, _ in there for _, colour in there if label in labels],
    ]
    return [rng.choice(way) for _ in range(8) for way in rng.sample(ways, len(ways)) if way]
