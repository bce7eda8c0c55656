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


def with_rare_kinds(pool: Pool) -> Pool:
    """Of 60 images 6 are dark and fail always, 6 are blurred and fail half the time; the others fail now and then."""

    def changed(number: int, place: int, item: PoolItem) -> PoolItem:
        factors = ("dark",) if number < 6 else ("blurred",) if number < 12 else ()
        return replace(item, factors=factors, failed=number < 6 or (number < 12 and place % 2 == 0) or (number + place) % 20 == 0)

    return {
        image: [changed(number, place, item) for place, item in enumerate(items)]
        for number, (image, items) in enumerate(sorted(pool.items()))
    }


def kinds_drawn(pool: Pool, images: int, replay: float, seeds: int = 20) -> Counter[str]:
    """How many images of each kind the targeted arm draws, over seeds."""
    size = ArmSize(images=images, records_per_image=4, failure_share=0.5, target="kinds", replay_share=replay)
    found: Counter[str] = Counter()
    for seed in range(seeds):
        drawn = {one.item.sha256: one.item.factors for one in draw_arm("targeted", pool, size, seed)}
        found.update(factors[0] if factors else "plain" for factors in drawn.values())
    return found


def test_targeted_by_kind_draws_the_kind_that_fails_most_first(pool: Pool) -> None:
    found = kinds_drawn(with_rare_kinds(pool), images=4, replay=0.0)
    assert found["plain"] == 0
    assert found["dark"] > 2 * found["blurred"] > 0


def test_targeted_by_kind_fills_up_with_images_that_nobody_chose(pool: Pool) -> None:
    found = kinds_drawn(with_rare_kinds(pool), images=20, replay=0.0)
    assert (found["dark"], found["blurred"], found["plain"]) == (120, 120, 160), "all of the rare ones, and the rest at random"


def test_targeted_by_kind_keeps_the_share_that_is_replayed(pool: Pool) -> None:
    found = kinds_drawn(with_rare_kinds(pool), images=12, replay=0.75)
    assert found["plain"] > 100
    assert found.total() == 240


def test_targeted_by_kind_goes_by_failures_where_images_have_no_factors(pool: Pool) -> None:
    plain = {image: [replace(item, factors=()) for item in items] for image, items in pool.items()}
    by_kind = replace(SIZE, target="kinds")
    assert draw_arm("targeted", plain, by_kind, 0) == draw_arm("targeted", plain, SIZE, 0)


def test_targeted_without_replay_draws_images_of_kinds_that_fail_as_long_as_there_are_any(pool: Pool) -> None:
    rare = with_rare_kinds(pool)
    size = ArmSize(images=12, records_per_image=4, failure_share=0.5, target="failures", replay_share=0.75)
    assert {one.item.factors for one in draw_arm("targeted_without_replay", rare, size, 0)} == {("dark",), ("blurred",)}


def test_targeted_by_failures_is_that_also_where_the_run_targets_kinds(pool: Pool) -> None:
    rare, by_kind = with_rare_kinds(pool), replace(SIZE, target="kinds")
    drawn = draw_arm("targeted_by_failures", rare, by_kind, 0)
    assert drawn == draw_arm("targeted", rare, SIZE, 0)
    assert drawn != draw_arm("targeted", rare, by_kind, 0)


def test_a_kind_that_fails_no_more_than_plain_images_weighs_nothing(pool: Pool) -> None:
    from millrace.improve.kinds import excess_by_factor

    rare = with_rare_kinds(pool)
    never = {
        image: [
            replace(item, factors=("sharp",), failed=False) if not item.factors and place < 2 else item
            for place, item in enumerate(items)
        ]
        for image, items in rare.items()
    }
    excess = excess_by_factor(never)
    assert excess["sharp"] == 0.0
    assert excess["dark"] > excess["blurred"] > 0.3


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
