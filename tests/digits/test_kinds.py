"""Questions and claims read an annotation by one rule: what is right for the one is right for the other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from millrace.digits import geometry, kinds
from millrace.digits.kinds import claim_kinds, truth_of
from millrace.digits.question_rules import readings_of
from millrace.digits.subjects import choose_subject
from millrace.errors import ItemFailed
from millrace.probing.claims import load_claims
from millrace.qa.writing.answer_vocabulary import NONE, rung_percent
from millrace.qa.writing.pipelines import load_pipelines
from tests.digits.hand_scenes import drawn_scenes

PIPELINE = {name: kind.PIPELINE for name, kind in claim_kinds().items()}


def test_what_is_right_for_a_claim_is_what_its_question_is_built_on() -> None:
    asked = 0
    for number, (_, scene, _) in enumerate(drawn_scenes(120)):
        for claim in load_claims("default").claims:
            subject = choose_subject(claim, scene, seed=4, image_id=str(number), unanswerable_share=0.3)
            if subject is None:
                continue
            truth = truth_of(claim.claim_id, scene, subject.selectors)
            assert truth is not None
            slots = {aspect: slot for slot, aspect in load_pipelines()[PIPELINE[claim.claim_id]].slots.items()}
            try:
                offered = readings_of(PIPELINE[claim.claim_id], scene, subject.selectors)
            except ItemFailed:
                continue
            for reading in offered:
                asked += 1
                if not truth.answerable:
                    assert reading.right in ((NONE,), ("0",))
                    continue
                right = [text.removeprefix("digit ") for text in truth.accepted[slots[reading.aspect]]]
                if reading.aspect == "percent":
                    assert 0.75 < rung_percent(reading.right[0]) / float(right[0].rstrip("%")) < 1.33
                elif reading.family != "half":
                    assert set(reading.right) <= set(right), (claim.claim_id, reading, truth)
                assert not set(reading.wrong) & set(reading.right)
    assert asked > 300


def test_what_is_not_clear_enough_to_be_judged_is_not_asked_either() -> None:
    unclear = 0
    for _, scene, _ in drawn_scenes(60):
        for digit in scene.digits:
            selectors = {"TARGET_OBJECT": {"label": digit.label}}
            truth = truth_of("spatial_absolute_position", scene, selectors)
            assert truth is not None
            if truth.clear:
                assert readings_of("object_position", scene, selectors)
                continue
            unclear += 1
            with pytest.raises(ItemFailed, match="unclear_subject"):
                readings_of("object_position", scene, selectors)
    assert unclear > 10


def test_a_slot_and_an_aspect_belong_to_one_kind_and_its_pipeline_says_the_same() -> None:
    slots = [slot for kind in claim_kinds().values() for slot in kind.ASPECTS]
    assert len(slots) == len(set(slots))
    for kind in claim_kinds().values():
        assert load_pipelines()[kind.PIPELINE].slots == kind.ASPECTS


def test_only_margins_that_one_kind_alone_uses_stand_in_its_file() -> None:
    margins: dict[str, list[str]] = {}
    for file in sorted(Path(kinds.__file__).parent.glob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, float):
                margins.setdefault(node.targets[0].id, []).append(file.stem)  # type: ignore[attr-defined]
    assert all(len(files) == 1 for files in margins.values()), margins
    assert not margins.keys() & vars(geometry).keys()
