"""An arm is one way to choose a training set: the protocol. One file in this folder is one arm.

A plug-in is a module with a function `draw(pool, size, seed)`, where `pool` has the images that may be drawn. It returns
`size.images` images with `size.records_per_image` records each; what else it returns is refused. `TRIED` says in one phrase
what the arm is for. Randomness comes from `millrace.run.ids.fraction_for(seed, purpose, id)` only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

import msgspec

from millrace.errors import InputError
from millrace.plugins.loading import load_plugin
from millrace.records.improve import PoolItem, TrainingRecord
from millrace.run.ids import fraction_for

PACKAGE = "millrace.improve.arms"

Pool: TypeAlias = Mapping[str, Sequence[PoolItem]]
"""By image (SHA-256 of the stored bytes): its items, sorted by id."""


class ArmSize(msgspec.Struct, frozen=True):
    """What all arms have in common."""

    images: int
    records_per_image: int
    failure_share: float
    target: Literal["kinds", "failures"] = "failures"
    replay_share: float = 0.5


class Drawn(msgspec.Struct, frozen=True):
    """One record of an arm: the item, and the item whose answers it is trained with."""

    item: PoolItem
    answers: PoolItem


class Plugin(Protocol):
    """What a module in this folder has."""

    TRIED: str = ""
    """What the arm is for, in one phrase."""

    def draw(self, pool: Pool, size: ArmSize, seed: int) -> list[Drawn]:
        """`size.images` of the pool's images, with `size.records_per_image` records each."""
        ...


def arm_name(arm: str) -> str:
    """How figures and folders call an arm: of a dotted path the last part."""
    return arm.rpartition(".")[2]


def draw_arm(arm: str, pool: Pool, size: ArmSize, seed: int) -> list[Drawn]:
    """The records of an arm, image by image, checked against what every arm must have.

    Raises:
        InputError: the pool is too small for the size, or the arm returned something else than was asked for.
    """
    usable = {image: items for image, items in pool.items() if len(items) >= size.records_per_image}
    if len(usable) < size.images:
        raise InputError(
            f"the arms need {size.images} images with {size.records_per_image} verified records each, and the run has "
            f"{len(usable)}; probe more images, or lower improve.images or improve.records_per_image"
        )
    drawn: list[Drawn] = load_plugin(PACKAGE, arm, "arm").draw(usable, size, seed)
    by_image: dict[str, set[str]] = {}
    for one in drawn:
        by_image.setdefault(one.item.sha256, set()).add(one.item.id)
    even = all(len(ids) == size.records_per_image for ids in by_image.values())
    if len(by_image) != size.images or not even or len(drawn) != size.images * size.records_per_image:
        raise InputError(
            f"the arm '{arm}' drew {len(drawn)} records of {len(by_image)} images where every arm has {size.records_per_image} "
            f"of each of {size.images}; unequal arms cannot be compared"
        )
    return drawn


def images_by(key: Callable[[str], tuple[float, ...]], pool: Pool, size: ArmSize) -> list[str]:
    """The first `size.images` images in the order of `key`."""
    return sorted(pool, key=key)[: size.images]


def take_random(items: Sequence[PoolItem], count: int, seed: int, purpose: str) -> list[PoolItem]:
    """`count` of the items, drawn by hash."""
    return sorted(items, key=lambda item: fraction_for(seed, purpose, item.id))[:count]


def training_record(drawn: Drawn, image: str) -> TrainingRecord:
    """The line that stands for it in a training set."""
    item, answers = drawn.item, drawn.answers
    return TrainingRecord(
        id=item.id,
        image=image,
        sha256=item.sha256,
        claim_id=item.claim_id,
        claim=item.claim,
        slots=tuple(dict.fromkeys(_SLOT.findall(item.claim))),
        answerable=answers.answerable,
        correct=answers.correct,
        accepted=answers.accepted,
        answers_of=answers.id,
    )


_SLOT = re.compile(r"\[([A-Z][A-Z0-9_]*)\]")
"""An open slot in a claim's sentence."""
