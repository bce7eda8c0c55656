"""What a claim is asked about on one image: subjects chosen from the annotation so that the answer is never a coin toss.

A fixed share is unanswerable on purpose (a digit that isn't there, a feature that nothing has, a picture without digits): a
model that always answers shows up only there. The choice depends on the run's seed, the image and the claim, and on nothing else.
"""

from __future__ import annotations

from millrace.digits.geometry import untyped
from millrace.digits.kinds import claim_kinds
from millrace.digits.scenes.scene import Scene
from millrace.probing.annotated import UNANSWERABLE_SHARE, Subject
from millrace.probing.claims import Claim
from millrace.run.ids import random_for


def choose_subject(
    claim: Claim, scene: Scene, *, seed: int, image_id: str, unanswerable_share: float = UNANSWERABLE_SHARE
) -> Subject | None:
    """The subject of `claim` on this image; None when the image offers none that has a clear answer.

    An unanswerable subject is looked for with chance `unanswerable_share`; where there is none, an answerable one is taken. A
    picture without digits is asked only what can't be answered, with the same chance. A claim without places for a subject is
    about the picture as a whole and always asked.
    """
    rng = random_for(seed, image_id, claim.claim_id, "subject")
    kind = claim_kinds().get(claim.claim_id)
    if kind is None or set(claim.prefill_slots) != set(kind.SUBJECT):
        return None
    wants_absent = rng.random() < unanswerable_share or not kind.SUBJECT
    for answerable in (False, True) if wants_absent else (True,):
        for selectors in kind.subjects(scene, rng, answerable=answerable):
            truth = kind.truth(scene, selectors)
            if truth.clear and truth.answerable == answerable:
                words = {slot: kind.SUBJECT[slot](selector) for slot, selector in selectors.items()}
                return Subject(words, untyped(selectors), answerable)
    return None
