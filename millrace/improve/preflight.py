"""Before anything is started: are the settings workable, and what will be done?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from millrace.errors import InputError, UsageError
from millrace.improve.arms import PACKAGE as ARMS_PACKAGE
from millrace.improve.arms import arm_name
from millrace.improve.asking import AsksOthers
from millrace.improve.formats import open_format
from millrace.improve.settings import ImproveSettings
from millrace.improve.sizes import name_of, sizes_asked
from millrace.improve.trainers import format_of, open_trainer, trainer_settings
from millrace.plugins.loading import load_plugin
from millrace.run.counted import counted

PROBES_PER_S = 200.0
"""Claims that one rank asks the embedded baseline in a second (measured on one core of two, torch 2.13)."""
PROBE_START_S = 8.0
"""Until torchrun's rank has loaded a model."""
CLAIMS_PER_IMAGE = 6.2
"""Of the default claim set, that embedded images offer a subject for (measured)."""


def check(settings: ImproveSettings, run_dir: Path, asks: AsksOthers, *, probed_before: bool) -> None:
    """See that arms, trainer, pool and test images are workable.

    Raises:
        UsageError, InputError: what is wrong, in one sentence.
    """
    check_plugins(settings)
    probing = asks.settings(run_dir)
    trainer = open_trainer(settings.trainer)
    own = trainer_settings(settings.trainer)
    sized = [name_of(arm, size) for arm, size in sizes_asked(settings)]
    trainer.check(own, probing["baseline"], (*settings.arms, *sized), settings.seeds)
    for model in models_named(own):
        asks.check_model(probing, model)
    check_test(settings, probing)
    asks.check_way(settings.test, {}, probing)
    if settings.test.new is not None:
        check_new(settings, probing)
        asks.check_way(settings.test.new, settings.test.new.wordings, probing)
    if not probed_before:
        from millrace.improve.pool import by_image, read_pool, tuning_images

        images = by_image(read_pool(run_dir / "probing"))
        kept = tuning_images(images, settings.tuning_share, settings.seed)
        check_size(settings, sum(len(items) >= settings.records_per_image for name, items in images.items() if name not in kept))


def check_plugins(settings: ImproveSettings) -> None:
    """See that arms, trainer and format are there; needs no run.

    Raises:
        UsageError: one is not, or takes not what it is given.
    """
    check_arms(settings)
    open_trainer(settings.trainer)
    trainer_settings(settings.trainer)
    open_format(format_of(settings.trainer))


def models_named(trainer: Any) -> list[Mapping[str, Any]]:
    """The models that a trainer's settings name already: what a command will leave, or what is given."""
    one, many = getattr(trainer, "model", None), getattr(trainer, "models", {})
    return [*([one] if isinstance(one, Mapping) and one else []), *(model for arm in many.values() for model in arm)]


def check_arms(settings: ImproveSettings) -> None:
    """Raises UsageError for an arm that is not there, is named twice, or has nothing to be compared with."""
    if len({arm_name(arm) for arm in settings.arms}) < len(settings.arms) or not settings.arms:
        raise UsageError("improve.arms must name each arm once, and at least one")
    for arm in settings.arms:
        load_plugin(ARMS_PACKAGE, arm, "arm")
    if "targeted" not in settings.arms:
        raise UsageError("improve.arms must have 'targeted': the verdict is about it")


def check_size(settings: ImproveSettings, usable: int) -> None:
    """Raises InputError when the pool has too few images with enough records."""
    needed = round(max(1.0, *(size for _, size in sizes_asked(settings)), 1.0) * settings.images)
    if usable < needed:
        raise InputError(
            f"the arms need {needed} images with {settings.records_per_image} verified records each, and the run has "
            f"{usable} beside those for tuning; probe more images, or lower improve.images or improve.records_per_image"
        )


def check_new(settings: ImproveSettings, probing: Mapping[str, Any]) -> None:
    """Raises UsageError when there is nothing new to ask about, or when new scenes are those that were probed or tested."""
    new = settings.test.new
    assert new is not None
    if new.path is None and new.recipe is None and not new.wordings:
        raise UsageError("improve.test.new names nothing new: set its path or recipe, its wordings, or both")
    if new.path is None and new.recipe is not None and new.seed in {probing["lake"]["seed"], settings.test.seed}:
        raise UsageError(f"improve.test.new.seed is that of other images ({new.seed}), which may be the same; take another")


def check_test(settings: ImproveSettings, probing: Mapping[str, Any]) -> None:
    """Raises UsageError when there can be no test images."""
    lake = probing["lake"]
    if settings.test.path is None and lake["path"] is not None:
        raise UsageError(
            f"the run's images came from {lake['path']}, and nothing says which others its models are judged on; set "
            "improve.test.path to a folder of parquet files with images that were not probed"
        )
    if settings.test.path is None and settings.test.seed == lake["seed"]:
        raise UsageError(f"improve.test.seed is that of the probed lake ({lake['seed']}): its images are the same; take another")
    if settings.test.path is not None:
        from millrace.lake.files import check_lake

        check_lake(settings.test.path)


def plan_lines(settings: ImproveSettings, probing: Mapping[str, Any] | None, workers: int) -> list[str]:
    """What the stage will do, for `--dry-run`. Touches nothing."""
    check_plugins(settings)
    sizes = sizes_asked(settings)
    trainings = (len(settings.arms) + len(sizes)) * settings.seeds
    records = settings.images * settings.records_per_image
    per_step = settings.images_per_step * settings.records_per_image
    test = settings.test.path or f"an embedded lake (seed {settings.test.seed})"
    of_images = f"{counted(records, 'records')} of {counted(settings.images, 'images')}"
    a_step = f"{counted(settings.images_per_step, 'images')} and {counted(per_step, 'records')}"
    lines = [
        f"arms: {', '.join(settings.arms)}, each with {of_images}, {counted(settings.seeds, 'seeds')}",
        f"trainings: {trainings} of {counted(settings.steps, 'steps')} with {a_step}",
        f"trainer: {settings.trainer.get('name', 'embedded')}",
        f"judged on: {counted(settings.test.images, 'images')} of {test}, {counted(trainings + 1, 'models')}",
        f"counts as harm: a rise beyond {100 * settings.margin:g} points; required to end with 0: {settings.require}",
    ]
    if sizes:
        lines.append(f"scaling: {', '.join(name_of(arm, size) for arm, size in sizes)}, as often as the arms")
    return [*lines, f"time: {estimate(settings, probing, workers)}"]


def estimate(settings: ImproveSettings, probing: Mapping[str, Any] | None, workers: int) -> str:
    """How long it may take; an estimate, and labelled as one."""
    own = trainer_settings(settings.trainer)
    per_step = settings.images_per_step * settings.records_per_image
    one = open_trainer(settings.trainer).seconds(own, settings.steps, per_step)
    if one is None or probing is None or probing["baseline"].get("name", "embedded") != "embedded":
        return "unknown: neither the trainer nor the model says how long it takes"
    models = (len(settings.arms) + len(sizes_asked(settings))) * settings.seeds
    probe = PROBE_START_S + settings.test.images * CLAIMS_PER_IMAGE / PROBES_PER_S
    seconds = (models * one + (models + 1) * probe) / workers
    return f"about {seconds / 60:.0f} min with {workers} workers on as many free cores (an estimate), without the pool's probing"
