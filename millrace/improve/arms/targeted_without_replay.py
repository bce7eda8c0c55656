"""Targeted by kinds with no image drawn at random beside them: against `targeted` it shows what the replay is worth.

Where the kinds that fail have fewer images than the arm needs, the rest is drawn at random all the same: arms are of one size.
"""

from __future__ import annotations

from msgspec.structs import replace

from millrace.improve.arms import ArmSize, Drawn, Pool
from millrace.improve.arms.targeted import draw as draw_targeted

TRIED = "images of the kinds that fail, and none beside them to keep what was right"


def draw(pool: Pool, size: ArmSize, seed: int) -> list[Drawn]:
    """See the package."""
    return draw_targeted(pool, replace(size, target="kinds", replay_share=0.0), seed)
