"""The targeted images and claims with the answers of other records of the same claim: a model must not get better by them.

Where it does, not the answers helped but the training itself (more steps, the kind of picture), and no arm proves anything.
"""

from __future__ import annotations

from millrace.improve.arms import ArmSize, Drawn, Pool
from millrace.improve.arms.targeted import draw as draw_targeted
from millrace.records.improve import PoolItem
from millrace.run.ids import fraction_for

TRIED = "the targeted records with each other's answers, which must not help"


def draw(pool: Pool, size: ArmSize, seed: int) -> list[Drawn]:
    """See the package."""
    drawn = draw_targeted(pool, size, seed)
    by_claim: dict[str, list[PoolItem]] = {}
    for one in drawn:
        by_claim.setdefault(one.item.claim_id, []).append(one.item)
    answers: dict[str, PoolItem] = {}
    for items in by_claim.values():
        ordered = sorted(items, key=lambda item: fraction_for(seed, "shuffled", item.id))
        answers |= {item.id: other for item, other in zip(ordered, [*ordered[1:], ordered[0]], strict=True)}
    return [Drawn(one.item, answers[one.item.id]) for one in drawn]
