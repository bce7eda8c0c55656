"""Images and records drawn without a look at what the model got wrong: the control of the same size."""

from __future__ import annotations

from millrace.improve.arms import ArmSize, Drawn, Pool, images_by, take_random
from millrace.run.ids import fraction_for

TRIED = "drawn without a look at the outcomes"


def draw(pool: Pool, size: ArmSize, seed: int) -> list[Drawn]:
    """See the package."""
    return draw_for(pool, size, seed, "untargeted")


def draw_for(pool: Pool, size: ArmSize, seed: int, purpose: str) -> list[Drawn]:
    """A draw of its own for each purpose."""
    chosen = images_by(lambda image: (fraction_for(seed, purpose, image),), pool, size)
    return [Drawn(item, item) for image in chosen for item in take_random(pool[image], size.records_per_image, seed, purpose)]
