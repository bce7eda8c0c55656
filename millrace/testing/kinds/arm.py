"""Arms: of the size that all arms have, from the pool alone, the same draw for the same seed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple

from millrace.errors import InputError
from millrace.improve.arms import ArmSize, Pool, draw_arm
from millrace.plugins.loading import load_plugin
from millrace.records.improve import PoolItem
from millrace.run.ids import fraction_for
from millrace.testing.kinds import kept

FOLDER = "millrace.improve.arms"
WORD = "arm"

SIZE = ArmSize(images=12, records_per_image=4, failure_share=0.5)
CLAIMS = ("colour", "number", "place", "size", "order", "kind")


class Opened(NamedTuple):
    """An arm's name, as a config has it, and its module."""

    name: str
    module: ModuleType


@contextlib.contextmanager
def opened(name: str, settings: Mapping[str, Any]) -> Iterator[Opened]:
    """The module; an arm has no settings."""
    del settings
    yield Opened(name, load_plugin(FOLDER, name, WORD))


def _item(image: int, claim: str, failing: float) -> PoolItem:
    there = fraction_for(0, "there", f"{image}", claim) > 0.15
    correct = {"SLOT": f"{claim} {image % 5}"} if there else {}
    return PoolItem(
        id=f"out_{image}_{claim}",
        image_id=f"image_{image}",
        file="part.parquet",
        row=image,
        sha256=f"{image:016x}",
        claim_id=claim,
        claim=f"The {claim} of the thing is [SLOT].",
        answerable=there,
        correct=correct,
        accepted={slot: (value,) for slot, value in correct.items()},
        failed=fraction_for(0, "failed", f"{image}", claim) < failing,
        factors=(),
    )


def pool(images: int = 30, failing: float = 0.4) -> Pool:
    """Decided claims about pictures that are only names: some failed, some about nothing that is there."""
    return {f"{image:016x}": [_item(image, claim, failing) for claim in CLAIMS] for image in range(images)}


def it_draws_as_many_as_every_arm(subject: Opened) -> None:
    """Whatever the pool: with many failures, with few, with none, and when it is just large enough."""
    for images, failing in ((30, 0.4), (30, 0.9), (30, 0.0), (SIZE.images, 0.4)):
        try:
            draw_arm(subject.name, pool(images, failing), SIZE, 1)
        except InputError as error:
            raise AssertionError(f"of {images} images with {failing:.0%} failures: {error}") from error


def it_draws_from_the_pool_alone(subject: Opened) -> None:
    """Each record and the answers that it is trained with are the pool's, and of one claim."""
    given = pool()
    known = {item.id: item for items in given.values() for item in items}
    for one in subject.module.draw(given, SIZE, 1):
        for item in (one.item, one.answers):
            kept(known.get(item.id) == item, f"{item.id} is not in the pool, or not as it stands there")
        same = one.item.claim_id == one.answers.claim_id
        kept(same, f"{one.item.id} is trained with the answers of another claim, {one.answers.id}")


def the_same_seed_draws_the_same(subject: Opened) -> None:
    """Also from a pool that comes in another order: a resumed run must not train on other data."""
    first = subject.module.draw(pool(), SIZE, 1)
    backwards = dict(reversed(list(pool().items())))
    kept(list(first) == list(subject.module.draw(pool(), SIZE, 1)), "the second draw of one seed is another one")
    same = {one.item.id for one in first} == {one.item.id for one in subject.module.draw(backwards, SIZE, 1)}
    kept(same, "from a pool in another order it draws other records")


def it_says_what_it_is_for(subject: Opened) -> None:
    """In one phrase, for the report."""
    told = subject.module.TRIED
    kept(isinstance(told, str) and "\n" not in told, f"TRIED is one phrase, not {told!r}")


PROMISES = (
    it_draws_as_many_as_every_arm,
    it_draws_from_the_pool_alone,
    the_same_seed_draws_the_same,
    it_says_what_it_is_for,
)
