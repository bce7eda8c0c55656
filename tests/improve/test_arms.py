"""Every arm: the same size, the same for every order of the pool, and what it is called after."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from millrace.errors import InputError
from millrace.improve.arms import PACKAGE, ArmSize, Drawn, draw_arm, training_record
from millrace.improve.pool import by_image, read_pool
from millrace.plugins.loading import plugin_names
from millrace.records.improve import PoolItem
from tests.improve.fake_world import probed_run

Pool = dict[str, list[PoolItem]]
SIZE = ArmSize(images=20, records_per_image=4, failure_share=0.5)
ARMS = plugin_names(PACKAGE)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return by_image(read_pool(probed_run(tmp_path_factory.mktemp("arms")) / "probing"))


def draws_of(arm: str, pool: Pool, seed: int = 0) -> list[tuple[str, str]]:
    return [(one.item.id, one.answers.id) for one in draw_arm(arm, pool, SIZE, seed)]


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_has_as_many_images_records_and_records_per_image_as_every_other(arm: str, pool: Pool) -> None:
    drawn = draw_arm(arm, pool, SIZE, 0)
    per_image = Counter(one.item.sha256 for one in drawn)
    assert len({one.item.id for one in drawn}) == 80
    assert len(per_image) == 20
    assert set(per_image.values()) == {4}


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_is_the_same_in_whatever_order_the_pool_comes(arm: str, pool: Pool) -> None:
    images = list(pool)
    random.Random(1).shuffle(images)
    assert draws_of(arm, {image: pool[image] for image in images}) == draws_of(arm, pool)


@pytest.mark.parametrize("arm", ARMS)
def test_another_seed_is_another_draw(arm: str, pool: Pool) -> None:
    assert draws_of(arm, pool, 1) != draws_of(arm, pool, 0)


@pytest.mark.parametrize("arm", ARMS)
def test_a_pool_that_is_too_small_is_said_with_both_numbers(arm: str, pool: Pool) -> None:
    few = dict(list(pool.items())[:19])
    with pytest.raises(InputError, match=r"need 20 images .* has 19"):
        draw_arm(arm, few, SIZE, 0)


def test_targeted_holds_the_share_of_failures_that_was_asked_for(pool: Pool) -> None:
    assert sum(one.item.failed for one in draw_arm("targeted", pool, SIZE, 0)) == 40


def test_targeted_takes_every_failure_where_they_are_rare(pool: Pool) -> None:
    rare = {
        image: [replace(item, failed=place == 0 and number < 5) for place, item in enumerate(items)]
        for number, (image, items) in enumerate(pool.items())
    }
    assert sum(one.item.failed for one in draw_arm("targeted", rare, SIZE, 0)) == 5


def test_untargeted_does_not_look_at_the_outcomes(pool: Pool) -> None:
    turned = {image: [replace(item, failed=not item.failed) for item in items] for image, items in pool.items()}
    assert draws_of("untargeted", turned) == draws_of("untargeted", pool)


def test_the_second_untargeted_draw_is_another(pool: Pool) -> None:
    assert draws_of("untargeted_again", pool) != draws_of("untargeted", pool)


def test_shuffled_has_the_targeted_records_and_the_answers_of_others_of_the_same_claim(pool: Pool) -> None:
    shuffled, targeted = draw_arm("shuffled", pool, SIZE, 0), draw_arm("targeted", pool, SIZE, 0)
    assert [one.item.id for one in shuffled] == [one.item.id for one in targeted]
    assert sorted(one.answers.id for one in shuffled) == sorted(one.item.id for one in targeted)
    assert all(one.answers.claim_id == one.item.claim_id and one.answers.id != one.item.id for one in shuffled)


def test_a_shuffled_record_keeps_its_own_open_slots(pool: Pool) -> None:
    one, other = (items[0] for items in list(pool.values())[:2])
    record = training_record(Drawn(one, other), "images/x.png")
    assert record.slots == ("SLOT",)
    assert (record.answers_of, record.accepted) == (other.id, other.accepted)


def test_an_arm_of_unequal_size_is_refused(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "greedy").mkdir()
    (tmp_path / "greedy" / "arm.py").write_text(
        "from millrace.improve.arms import Drawn\n"
        "def draw(pool, size, seed):\n    return [Drawn(item, item) for items in pool.values() for item in items]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"'greedy\.arm' drew 480 records of 60 images where every arm has 4 of each of 20"):
        draw_arm("greedy.arm", pool, SIZE, 0)
