"""Targeted by the single failures, whatever `improve.target` says: beside `targeted` by kinds it shows what kinds add."""

from __future__ import annotations

from msgspec.structs import replace

from millrace.improve.arms import ArmSize, Drawn, Pool
from millrace.improve.arms.targeted import draw as draw_targeted

TRIED = "images on which the model failed, with what it got wrong and right there"


def draw(pool: Pool, size: ArmSize, seed: int) -> list[Drawn]:
    """See the package."""
    return draw_targeted(pool, replace(size, target="failures"), seed)
