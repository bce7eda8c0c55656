"""Aimed at what the base fails on, in one of two ways (`improve.target`).

`kinds`: images of kinds that fail often, drawn by how often, with any of their records; a share of the images (`replay_share`) is
drawn without a look at the outcomes, so that what was right stays right. Where no kind fails more than others, or images have
no factors, the rest is chosen by failures.

`failures`: images on which the base failed, half of the records failures and half what it got right there (`failure_share`).
Failures alone were measured to make a model worse: the mix of answers shifts, and what was right is forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from millrace.improve.arms import ArmSize, Drawn, Pool, images_by, take_random
from millrace.improve.kinds import weights_of
from millrace.records.improve import PoolItem
from millrace.run.ids import fraction_for

TRIED = "aimed at what the model got wrong"
PURPOSE = "targeted"


def draw(pool: Pool, size: ArmSize, seed: int) -> list[Drawn]:
    """See the package."""
    weights = weights_of(pool) if size.target == "kinds" else {}
    return _by_kind(pool, weights, size, seed) if any(weights.values()) else _by_failures(pool, size, seed)


def _by_kind(pool: Pool, weights: Mapping[str, float], size: ArmSize, seed: int) -> list[Drawn]:
    """Drawn without replacement, by weight (Efraimidis and Spirakis, Weighted random sampling with a reservoir, 2006)."""
    wanted = size.images - round(size.replay_share * size.images)
    kinds = [image for image in pool if weights[image]]
    kinds.sort(key=lambda image: (-(fraction_for(seed, PURPOSE, image) ** (1 / weights[image])), image))
    aimed = kinds[:wanted]
    rest = {image: pool[image] for image in pool if image not in set(aimed)}
    replay = sorted(rest, key=lambda image: fraction_for(seed, f"{PURPOSE} replay", image))[: size.images - len(aimed)]
    return [
        Drawn(item, item)
        for image in (*aimed, *replay)
        for item in take_random(pool[image], size.records_per_image, seed, PURPOSE)
    ]


def _by_failures(pool: Pool, size: ArmSize, seed: int) -> list[Drawn]:
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
