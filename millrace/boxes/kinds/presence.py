"""Whether the picture shows a kind of thing at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

from millrace.boxes.annotation import Picture
from millrace.boxes.geometry import Selector, Selectors, is_large_enough, members, missing, one_value, references, the_kind
from millrace.probing.annotated import UNCLEAR, Truth
from millrace.qa.annotated import Reading

CLAIM = "object_presence"
PIPELINE = "object_presence"
SLOT = "PRESENCE"
ASPECT = "presence of kind"
SUBJECT = {"OBJECT_TYPE": the_kind}


def subjects(picture: Picture, rng: Random, *, answerable: bool) -> Iterator[Selectors]:
    """As many kinds that are not there as kinds that are; the question always has an answer."""
    if not answerable:
        return
    there, not_there = list(references(picture.boxes)), list(missing(picture.boxes))
    rng.shuffle(there)
    rng.shuffle(not_there)
    first, second = (there, not_there) if rng.random() < 0.5 else (not_there, there)
    for way in (*first, *second):
        yield {"OBJECT_TYPE": way}


def truth(picture: Picture, selectors: Mapping[str, Selector]) -> Truth:
    """yes when a box says so; no only where that is known, not where a list may be incomplete."""
    selector = selectors["OBJECT_TYPE"]
    listed = [thing for thing in picture.boxes.things if thing.label == selector["label"]]
    if listed and not selector.get("attributes"):
        return one_value(SLOT, "yes") if any(is_large_enough(thing, picture) for thing in listed) else UNCLEAR
    found = members(picture, selector)
    if found is None:
        return UNCLEAR
    return one_value(SLOT, "yes" if found else "no")


def readings(picture: Picture, selectors: Mapping[str, Selector], truth: Truth, rng: Random) -> list[Reading]:
    """yes or no; and which of several labels the picture shows, where enough are known not to be in it."""
    del selectors, rng
    right = truth.correct[SLOT]
    found = [Reading(ASPECT, ASPECT, (right,), {"no" if right == "yes" else "yes": "opposite"}, sole=False)]
    shown = sorted({thing.label for thing in picture.boxes.things})
    if shown and len(picture.boxes.absent) >= 3:
        wrong = dict.fromkeys(picture.boxes.absent, "absent_label")
        found.append(Reading("label shown", "label shown", tuple(shown), wrong, sole=False))
    return found


def read_value(text: str) -> str | None:
    """yes or no, however they are put."""
    first = text.strip().casefold().partition(" ")[0].strip(".,:;!")
    return {"yes": "yes", "true": "yes", "present": "yes", "no": "no", "false": "no", "absent": "no"}.get(first)
