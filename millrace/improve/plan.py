"""The plan: what will be compared with what, on which images, at which sizes. Written and hashed before the first training.

A run that is resumed makes its plan again and compares: what came out differently since (other outcomes in the pool, other
test images, another version's arms) is another run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from millrace.config import fingerprint_of
from millrace.errors import UsageError
from millrace.improve.arms import arm_name
from millrace.improve.pool import facts_of, rare_kinds
from millrace.improve.settings import ImproveSettings
from millrace.improve.trainers import trainer_settings
from millrace.records.improve import AskedHow, Hypothesis, ImageMark, Plan, PoolItem, TestImage
from millrace.run.ids import content_id
from millrace.run.journal import read_record, write_json

BASE = "base"
"""The model before any training, in hypotheses and figures."""
TARGETING_RARE = "targeting, rare kinds"

HYPOTHESES = (
    Hypothesis(name="data", treated="targeted", control=BASE, expected="fewer failures"),
    Hypothesis(name="untargeted data", treated="untargeted", control=BASE, expected="fewer failures"),
    Hypothesis(name="targeting", treated="targeted", control="untargeted", expected="fewer failures"),
    Hypothesis(name="chance alone", treated="untargeted_again", control="untargeted", expected="no difference"),
    Hypothesis(name="shuffled answers", treated="shuffled", control=BASE, expected="not fewer failures"),
)
"""All comparisons that are made, where their arms are. `data` and `targeting` are what the verdict is about, the last two are
controls."""

ON_RARE_KINDS = (
    Hypothesis(name="data, rare kinds", treated="targeted", control=BASE, expected="fewer failures", on="rare kinds"),
    Hypothesis(name=TARGETING_RARE, treated="targeted", control="untargeted", expected="fewer failures", on="rare kinds"),
)
"""Made besides, where the pool has rare kinds of images. The verdict on targeting is about two comparisons then, corrected."""


def hypotheses_for(arms: Sequence[str], *, rare: bool = False) -> tuple[Hypothesis, ...]:
    """The comparisons that these arms allow; an arm that is in none of them is compared with the untargeted one."""
    arms = [arm_name(arm) for arm in arms]
    known = {BASE, *arms}
    made = (*HYPOTHESES, *ON_RARE_KINDS) if rare else HYPOTHESES
    chosen = [one for one in made if {one.treated, one.control} <= known]
    own = [arm for arm in arms if arm not in {one.treated for one in HYPOTHESES}]
    added = [
        Hypothesis(name=arm, treated=arm, control="untargeted", expected="fewer failures") for arm in own if "untargeted" in known
    ]
    added += [replace(one, name=f"{one.name}, rare kinds", on="rare kinds") for one in added if rare]
    return (*chosen, *added)


def make_plan(
    settings: ImproveSettings,
    probing: Mapping[str, Any],
    items: Sequence[PoolItem],
    tuning: Sequence[str],
    test: Sequence[ImageMark],
    new: Sequence[ImageMark] = (),
) -> Plan:
    """The plan of a run. Nothing in it depends on where the folder lies or how many work on it."""
    rare = rare_kinds(items, settings.rare_share)
    return Plan(
        seed=settings.seed,
        hypotheses=hypotheses_for(settings.arms, rare=bool(rare)),
        arms=settings.arms,
        images=settings.images,
        records_per_image=settings.records_per_image,
        images_per_step=settings.images_per_step,
        steps=settings.steps,
        failure_share=settings.failure_share,
        replay_share=settings.replay_share if settings.target == "kinds" else UNSET,
        seeds=tuple(range(settings.seeds)),
        margin=settings.margin,
        level=settings.level,
        trainer=fingerprint_of(trainer_settings(settings.trainer)),
        probing=msgspec.convert({name: value for name, value in probing.items() if name != "wordings" or value}, AskedHow),
        pool=facts_of(items),
        tuning=tuple(sorted(tuning)),
        scaling=settings.scaling or UNSET,
        rare=rare or UNSET,
        test=named(test),
        new_scenes=named(new) or UNSET,
        new_wordings=(settings.test.new.wordings if settings.test.new is not None else {}) or UNSET,
    )


def named(marks: Sequence[ImageMark]) -> tuple[TestImage, ...]:
    """Images as the plan names them, sorted."""
    return tuple(
        TestImage(image_id=mark.image_id, sha256=mark.sha256, hash=mark.hash)
        for mark in sorted(marks, key=lambda mark: (mark.sha256, mark.image_id))
    )


def plan_hash(plan: Plan) -> str:
    """The name of a plan: of its whole content."""
    return content_id("plan", msgspec.to_builtins(plan), length=16)


def keep_plan(plan: Plan, path: Path) -> None:
    """Write the plan, or see that the one that is there is the same.

    Raises:
        UsageError: another one is there; the message says what differs.
    """
    if not path.exists():
        write_json(path, plan)
        return
    kept = read_record(path, Plan)
    if plan_hash(kept) == plan_hash(plan):
        return
    old, new = msgspec.to_builtins(kept), msgspec.to_builtins(plan)
    differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    raise UsageError(
        f"{path} was decided on for something else (other: {', '.join(differing)}); a changed plan is another run: choose "
        "another --run-dir, or restore what was there"
    )
