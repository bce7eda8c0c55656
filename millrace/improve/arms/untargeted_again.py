"""A second untargeted draw: what differs from the first is chance, and the size of that difference says how large chance is."""

from __future__ import annotations

from millrace.improve.arms import ArmSize, Drawn, Pool
from millrace.improve.arms.untargeted import draw_for

TRIED = "a second draw without a look at the outcomes, which must make no difference"


def draw(pool: Pool, size: ArmSize, seed: int) -> list[Drawn]:
    """See the package."""
    return draw_for(pool, size, seed, "untargeted_again")
