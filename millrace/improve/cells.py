"""How far a gain reaches: known and new scenes × known and new wording.

The test itself is the first of four cells, and the verdict rests on it alone. The others are asked besides: of the base and of
every trained model, on images that are in no training set either.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from millrace.improve.asking import AsksOthers
from millrace.improve.figures import IN_DETAIL, difference
from millrace.improve.judged import judged_together
from millrace.improve.plan import BASE
from millrace.improve.settings import TestLake
from millrace.records.improve import Plan
from millrace.records.results.improve import Difference

if TYPE_CHECKING:
    from millrace.run.context import RunContext

FOLDER = "cells"


class Cell(msgspec.Struct, frozen=True):
    """One way to ask besides the test's own."""

    name: str
    lake: Path
    new_scenes: bool
    images: int
    probing: Mapping[str, Any]
    """How models are asked there."""

    @property
    def folder(self) -> str:
        """`cells/new_scenes_known_wording`, below the stage's folder."""
        return f"{FOLDER}/{self.name.replace(', ', '_').replace(' ', '_')}"


def cells_of(test: TestLake, test_lake: Path, probing: Mapping[str, Any], asks: AsksOthers, run: RunContext) -> list[Cell]:
    """The cells that are asked besides the test itself; draws the lake of new scenes if need be."""
    new = test.new
    if new is None:
        return []
    lakes = {False: test_lake}
    if new.path is not None or new.recipe is not None:
        lakes[True] = asks.lake(new, probing, run)
    sentences = [False, True] if new.wordings else [False]
    return [
        Cell(
            name=f"{'new' if scenes else 'known'} scenes, {'new' if wording else 'known'} wording",
            lake=lake,
            new_scenes=scenes,
            images=new.images if scenes else min(new.images, test.images),
            probing={**probing, "wordings": {**probing.get("wordings", {}), **new.wordings}} if wording else probing,
        )
        for scenes, lake in lakes.items()
        for wording in sentences
        if scenes or wording
    ]


def judge_cells(cells: list[Cell], folder: Path, plan: Plan, models: list[str]) -> dict[str, dict[str, Difference]]:
    """Cell → hypothesis → the difference there, for those that the verdict is about."""
    found: dict[str, dict[str, Difference]] = {}
    for cell in cells:
        images = (plan.new_scenes or ()) if cell.new_scenes else plan.test
        judged = judged_together(BASE, {name: folder / cell.folder / name for name in (BASE, *models)}, images)
        found[cell.name] = {
            hypothesis.name: difference(judged, plan, hypothesis, judged.failed, None)
            for hypothesis in plan.hypotheses
            if hypothesis.name in IN_DETAIL
        }
    return found
