"""Claims decided from boxes: `millrace.probing.annotated.ClaimRules`, over whatever kinds of claims `kinds/` holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from millrace.boxes.annotation import picture_of
from millrace.boxes.geometry import area, meet, typed, untyped
from millrace.boxes.kinds import claim_kinds
from millrace.probing.annotated import Subject, Truth
from millrace.records.outcome import Selector
from millrace.run.ids import random_for

if TYPE_CHECKING:
    from millrace.lake.rows import LakeRow
    from millrace.probing.claims import Claim

SMALL, LARGE = 0.01, 0.5
"""Shares of the picture's area up to which a thing is small, and from which it is large."""
MANY = 6
"""From this many things on they are many."""


def choose_subject(claim: Claim, row: LakeRow, *, seed: int, image_id: str, unanswerable_share: float) -> Subject | None:
    """The subject of `claim` on this picture; None when it offers none that has a clear answer.

    One that can't be answered is looked for with chance `unanswerable_share`; where there is none, one that can is taken.
    """
    kind = claim_kinds().get(claim.claim_id)
    if kind is None or set(claim.prefill_slots) != set(kind.SUBJECT) or claim.answer_slots != (kind.SLOT,):
        return None
    picture = picture_of(row)
    rng = random_for(seed, image_id, claim.claim_id, "subject")
    wants_absent = rng.random() < unanswerable_share
    for answerable in (False, True) if wants_absent else (True,):
        for selectors in kind.subjects(picture, rng, answerable=answerable):
            truth = kind.truth(picture, selectors)
            if truth.clear and truth.answerable == answerable and truth.accepted.get(kind.SLOT) != ():
                words = {slot: kind.SUBJECT[slot](selector) for slot, selector in selectors.items()}
                return Subject(words, untyped(selectors), answerable)
    return None


def truth_of(claim_id: str, row: LakeRow, selectors: Mapping[str, Selector]) -> Truth | None:
    """What is right for a claim about this subject; None for a claim that boxes can't decide."""
    kind = claim_kinds().get(claim_id)
    return None if kind is None else kind.truth(picture_of(row), typed(selectors))


def read_value(slot: str, text: str) -> str | None:
    """The value that an answer in this slot means; None when it can't be read."""
    kind = next((kind for kind in claim_kinds().values() if slot == kind.SLOT), None)
    return None if kind is None else kind.read_value(text)


def factors(row: LakeRow) -> tuple[str, ...]:
    """What may make the picture hard, in the names of `annotation.FACTORS`."""
    picture = picture_of(row)
    things = picture.boxes.things
    shares = [area(thing.corners) / (picture.width * picture.height) for thing in things]
    found = {
        "small_thing": any(share <= SMALL for share in shares),
        "large_thing": any(share >= LARGE for share in shares),
        "many_things": len(things) >= MANY,
        "overlapping": meet([thing.corners for thing in things]),
    }
    return tuple(name for name, holds in found.items() if holds)
