"""Where a run's time went, as the reports of all flows show it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class StageTime(msgspec.Struct, frozen=True):
    """Where a stage's time went."""

    name: str
    wall_s: float
    work_s: float | None
    """Time in which it was at work; the rest is orchestration. None when that was not measured."""

    @property
    def orchestration_s(self) -> float | None:
        """Starting, submitting, waiting."""
        return None if self.work_s is None else max(0.0, self.wall_s - self.work_s)


def orchestration_of(times: Sequence[StageTime]) -> float | None:
    """Seconds of orchestration in all stages; None when any stage's was not measured, or there is none."""
    parts = [stage.orchestration_s for stage in times]
    return sum(part for part in parts if part is not None) if parts and None not in parts else None
