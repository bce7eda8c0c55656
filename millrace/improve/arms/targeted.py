"""Images on which the model fails, half of the records failures and half what it got right there (`failure_share`).

Failures alone were measured to make a model worse: the mix of answers shifts, and what was right is forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence

from millrace.improve.arms import ArmSize, Drawn, Pool, images_by
from millrace.records.improve import PoolItem
from millrace.run.ids import fraction_for

TRIED = "aimed at what the model got wrong"
PURPOSE = "targeted"


def draw(pool: Pool, size: ArmSize, seed: int) -> list[Drawn]:
    """See the package."""
    wanted = round(size.failure_share * size.records_per_image)

    def order(image: str) -> tuple[float, ...]:
        """Images that hold as many failures, and as much that was right, as an image is to give come first."""
        failed = sum(item.failed for item in pool[image])
        right = len(pool[image]) - failed
        missing = max(0, wanted - failed) + max(0, size.records_per_image - wanted - right)
        return missing, fraction_for(seed, PURPOSE, image)

    chosen = images_by(order, pool, size)
    return [Drawn(item, item) for image in chosen for item in _balanced(pool[image], size.records_per_image, wanted, seed)]


def _balanced(items: Sequence[PoolItem], count: int, wanted: int, seed: int) -> list[PoolItem]:
    """`wanted` failures and the rest right before; what one kind lacks the other gives."""
    ordered = sorted(items, key=lambda item: fraction_for(seed, PURPOSE, item.id))
    failed, right = [item for item in ordered if item.failed], [item for item in ordered if not item.failed]
    failures = min(len(failed), max(wanted, count - len(right)))
    return failed[:failures] + right[: count - failures]
