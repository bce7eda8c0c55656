"""What is asked: always something with one clear answer, except where on purpose there is none."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from millrace.digits.geometry import matches
from millrace.digits.kinds import truth_of
from millrace.digits.subjects import choose_subject
from millrace.lake.places import QUARTERS, REGIONS
from millrace.probing.annotated import Subject
from millrace.probing.claims import load_claims
from millrace.probing.prompts import write_prompt
from tests.digits.hand_scenes import digit, drawn_scenes, scene

CLAIMS = load_claims("default")
SCENES = drawn_scenes(120)


def subjects(claim_id: str, share: float = 0.3) -> list[tuple[int, Subject]]:
    claim = CLAIMS.claim(claim_id)
    chosen = (
        (number, choose_subject(claim, annotated, seed=5, image_id=str(number), unanswerable_share=share))
        for number, (_, annotated, _) in enumerate(SCENES)
    )
    return [(number, subject) for number, subject in chosen if subject is not None]


@pytest.mark.parametrize("claim", CLAIMS.claims, ids=lambda claim: claim.claim_id)
def test_every_subject_has_a_clear_answer_or_clearly_none(claim) -> None:  # type: ignore[no-untyped-def]
    asked = subjects(claim.claim_id)
    assert len(asked) > 40
    for number, subject in asked:
        truth = truth_of(claim.claim_id, SCENES[number][1], subject.selectors)
        assert truth is not None
        assert truth.clear
        assert truth.answerable == subject.answerable
        assert set(subject.values) == set(claim.prefill_slots)
        assert "[" not in "".join(subject.values.values())


@pytest.mark.parametrize("claim", CLAIMS.claims, ids=lambda claim: claim.claim_id)
def test_the_same_image_is_always_asked_the_same_whoever_asks_and_when(claim) -> None:  # type: ignore[no-untyped-def]
    forwards = subjects(claim.claim_id)
    backwards = [
        (number, choose_subject(claim, SCENES[number][1], seed=5, image_id=str(number), unanswerable_share=0.3))
        for number, _ in reversed(forwards)
    ]
    assert forwards == backwards[::-1]


def test_another_seed_asks_about_other_things() -> None:
    claim = CLAIMS.claim("spatial_absolute_position")
    with_seed = [
        [choose_subject(claim, annotated, seed=seed, image_id=str(number)) for number, (_, annotated, _) in enumerate(SCENES)]
        for seed in (1, 2)
    ]
    assert with_seed[0] != with_seed[1]


def test_the_share_without_an_answer_is_about_the_one_asked_for() -> None:
    for share in (0.0, 0.3):
        claims = ("counting_object_instances", "scale_proportion_estimation")
        asked = [subject for claim_id in claims for _, subject in subjects(claim_id, share)]
        unanswerable = sum(not subject.answerable for subject in asked) / len(asked)
        assert unanswerable == pytest.approx(share, abs=0.1)


def test_what_is_not_there_comes_in_several_ways() -> None:
    ways = Counter(
        frozenset(selector)
        for claim_id in ("spatial_absolute_position", "counting_object_instances")
        for _, subject in subjects(claim_id, 0.9)
        for selector in subject.selectors.values()
        if not subject.answerable
    )
    assert set(ways) == {frozenset({"label"}), frozenset({"colour"}), frozenset({"label", "colour"})}


def test_an_empty_picture_has_no_main_thing() -> None:
    subject = choose_subject(CLAIMS.claim("entity_basic_grounding"), scene(), seed=1, image_id="empty")
    assert subject == Subject({}, {}, answerable=False)


def test_a_centre_near_a_border_between_regions_is_not_asked_for() -> None:
    claim = CLAIMS.claim("spatial_absolute_position")
    on_the_line = scene(digit(7, "red", 200 / 3 + 4, 100))
    inside = scene(digit(7, "red", 100, 100))
    assert choose_subject(claim, on_the_line, seed=1, image_id="a", unanswerable_share=0) is None
    assert choose_subject(claim, inside, seed=1, image_id="a", unanswerable_share=0) is not None


def test_a_diagonal_pair_is_not_asked_for_its_direction() -> None:
    claim = CLAIMS.claim("spatial_relative_position")
    diagonal = scene(digit(7, "red", 40, 40), digit(3, "blue", 140, 150))
    beside = scene(digit(7, "red", 40, 100), digit(3, "blue", 150, 110))
    assert choose_subject(claim, diagonal, seed=1, image_id="a", unanswerable_share=0) is None
    subject = choose_subject(claim, beside, seed=1, image_id="a", unanswerable_share=0)
    assert subject is not None
    prompt = write_prompt(claim, subject)
    assert "[RELATIVE_DIRECTION]" in prompt.text
    assert prompt.slots == {"RELATIVE_DIRECTION": list(claim.slots["RELATIVE_DIRECTION"].values)}


def test_sizes_that_are_nearly_alike_are_not_compared() -> None:
    claim = CLAIMS.claim("entity_basic_grounding")
    alike = scene(digit(7, "red", 50, 50, size=44), digit(3, "blue", 150, 150, size=40))
    assert choose_subject(claim, alike, seed=1, image_id="a") is None


def test_a_digit_that_is_half_hidden_is_neither_named_nor_counted() -> None:
    hidden = scene(digit(7, "red", 50, 50, visible=0.4), digit(3, "blue", 150, 150))
    assert truth_of("counting_object_instances", hidden, {"OBJECT_TYPE": {}}).clear is False  # type: ignore[union-attr]
    assert truth_of("spatial_absolute_position", hidden, {"TARGET_OBJECT": {"label": 7}}).clear is False  # type: ignore[union-attr]
    assert truth_of("counting_object_instances", hidden, {"OBJECT_TYPE": {"colour": "blue"}}).clear is True  # type: ignore[union-attr]


def test_of_two_alike_neither_is_the_one_that_is_meant() -> None:
    twins = scene(digit(7, "red", 50, 50), digit(7, "red", 150, 150))
    truth = truth_of("spatial_absolute_position", twins, {"TARGET_OBJECT": {"label": 7}})
    assert truth is not None
    assert not truth.clear


def test_a_subject_is_only_chosen_for_the_slots_that_a_claim_has() -> None:
    claim = CLAIMS.claim("counting_object_instances")
    renamed = claim.model_copy(update={"prefill_slots": ("TARGET_OBJECT",)})
    assert choose_subject(renamed, SCENES[1][1], seed=1, image_id="a") is None


def test_the_annotations_answers_agree_with_the_pixels_of_the_label_map() -> None:
    """The label map is written by another path than the annotation: what the two say of counts and places must agree."""
    rng = random.Random(3)
    for _, annotated, labels in SCENES[:60]:
        for one in annotated.digits:
            if one.visible < 0.95:
                continue
            ys, xs = np.nonzero(labels == one.id)
            truth = truth_of(
                "spatial_absolute_position", annotated, {"TARGET_OBJECT": {"label": one.label, "colour": one.colour}}
            )
            if truth is not None and truth.correct:
                middle = ((xs.min() + xs.max()) / 2 / annotated.width, (ys.min() + ys.max()) / 2 / annotated.height)
                assert truth.correct["ABSOLUTE_REGION"] == REGIONS[int(middle[1] * 3) * 3 + int(middle[0] * 3)]
        kind = rng.choice([{}, {"colour": "red"}, {"label": 3}])
        truth = truth_of("absence_negative_reasoning", annotated, {"OBJECT_TYPE": kind})
        if truth is not None and truth.correct and all(one.visible > 0.95 for one in annotated.digits):
            members = [one.id for one in annotated.digits if matches(one, kind)]
            halves = np.array_split(np.isin(labels, members), 2)
            ink = [part.any() for half in halves for part in np.array_split(half, 2, axis=1)]
            assert set(truth.accepted["REGION_DESCRIPTION"]) == {
                name for name, there in zip(QUARTERS, ink, strict=True) if not there
            }
