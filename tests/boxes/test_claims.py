"""What is right about boxes, and when nothing is clear enough to be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from millrace.boxes.annotation import FACTORS
from millrace.boxes.claim_rules import choose_subject, factors, read_value, truth_of
from millrace.boxes.kinds import claim_kinds
from millrace.errors import ItemFailed
from millrace.lake.annotations import factor_words
from millrace.lake.rows import LakeRow
from millrace.plugins.loading import plugin_files, plugin_names
from millrace.probing.annotated import NOT_ANSWERABLE, UNCLEAR, Truth
from millrace.probing.baselines import Completion
from millrace.probing.claims import load_claims
from millrace.probing.judges import judge_settings, open_judge
from tests.boxes.pictures import row, thing

ROOT = Path(__file__).parents[2]
CUP: dict[str, Any] = {"label": "cup"}
RED_CUP = {"label": "cup", "attributes": {"colour": "red"}}
DOG = {"label": "dog"}


def right(claim: str, told: LakeRow, **selectors: dict[str, Any]) -> Truth | None:
    return truth_of(claim, told, selectors)


def values(truth: Truth | None) -> dict[str, str]:
    assert truth is not None
    assert truth.clear
    return dict(truth.correct)


def test_things_are_counted_where_all_of_them_are_known() -> None:
    two = [thing("cup", 100, 100, colour="red"), thing("cup", 300, 100, colour="blue"), thing("spoon", 500, 200)]
    count = "counting_object_instances"
    assert values(right(count, row(*two), OBJECT_TYPE=CUP)) == {"COUNT": "2"}
    assert values(right(count, row(*two), OBJECT_TYPE=RED_CUP)) == {"COUNT": "1"}
    assert right(count, row(*two, absent=("dog",)), OBJECT_TYPE=DOG) == NOT_ANSWERABLE


@pytest.mark.parametrize(
    "told",
    [
        row(thing("cup", 100, 100), incomplete=("cup",)),
        row(thing("cup", 100, 100), thing("cup", 102, 101)),  # one cup, annotated twice
        row(thing("cup", 100, 100), thing("cup", 300, 100, 4, 4)),  # a speck
        row(thing("cup", 100, 100, crowd="1")),
        row(thing("spoon", 100, 100)),  # nobody said that there is no cup
        row(thing("cup", 100, 100), thing("coffee cup", 300, 100)),  # which is a cup as well
    ],
)
def test_what_is_not_surely_known_is_not_counted(told: LakeRow) -> None:
    assert right("counting_object_instances", told, OBJECT_TYPE=CUP) == UNCLEAR


def test_an_adjective_that_is_not_known_of_each_singles_nothing_out() -> None:
    told = row(thing("cup", 100, 100, colour="red"), thing("cup", 300, 100))
    assert right("counting_object_instances", told, OBJECT_TYPE=RED_CUP) == UNCLEAR


def test_a_position_is_that_of_the_middle_and_unclear_near_a_line() -> None:
    where = "spatial_absolute_position"
    assert values(right(where, row(thing("cup", 100, 50)), TARGET_OBJECT=CUP)) == {"ABSOLUTE_REGION": "top left"}
    assert values(right(where, row(thing("cup", 500, 250)), TARGET_OBJECT=CUP)) == {"ABSOLUTE_REGION": "bottom right"}
    assert right(where, row(thing("cup", 205, 50)), TARGET_OBJECT=CUP) == UNCLEAR
    assert right(where, row(thing("cup", 100, 50), thing("cup", 500, 50)), TARGET_OBJECT=CUP) == UNCLEAR
    assert right(where, row(absent=("cup",)), TARGET_OBJECT=CUP) == NOT_ANSWERABLE


@pytest.mark.parametrize(
    ("x", "y", "word"),
    [(100, 150, "left of"), (500, 160, "right of"), (300, 30, "above"), (310, 270, "below"), (400, 250, None), (320, 150, None)],
)
def test_a_direction_is_named_only_where_one_axis_dominates_and_nothing_overlaps(x: int, y: int, word: str | None) -> None:
    told = row(thing("cup", x, y), thing("spoon", 300, 150))
    truth = right("spatial_relative_position", told, OBJECT_A=CUP, OBJECT_B={"label": "spoon"})
    assert truth == UNCLEAR if word is None else values(truth) == {"RELATIVE_DIRECTION": word}


def test_a_share_is_that_of_the_box() -> None:
    told = row(thing("cup", 300, 150, 120, 60))
    assert values(right("scale_proportion_estimation", told, TARGET_OBJECT=CUP)) == {"PROPORTION": "4.0%"}


def test_a_thing_is_absent_only_where_somebody_said_so() -> None:
    told = row(thing("cup", 100, 100, colour="red"), absent=("dog",), incomplete=("tree",))
    asked = "object_presence"
    assert values(right(asked, told, OBJECT_TYPE=CUP)) == {"PRESENCE": "yes"}
    assert values(right(asked, told, OBJECT_TYPE=DOG)) == {"PRESENCE": "no"}
    assert values(right(asked, told, OBJECT_TYPE={"label": "cup", "attributes": {"colour": "blue"}})) == {"PRESENCE": "no"}
    for unknown in ("tree", "spoon"):
        assert right(asked, told, OBJECT_TYPE={"label": unknown}) == UNCLEAR


def test_a_quarter_is_free_when_no_box_reaches_into_it() -> None:
    told = row(thing("cup", 100, 75), thing("cup", 500, 75), thing("cup", 100, 225))
    assert values(right("absence_negative_reasoning", told, OBJECT_TYPE=CUP)) == {"REGION_DESCRIPTION": "bottom right"}
    reaching = row(thing("cup", 100, 75), thing("cup", 500, 132))  # a tip of it below the middle
    assert right("absence_negative_reasoning", reaching, OBJECT_TYPE=CUP) == UNCLEAR


def test_the_same_seed_chooses_the_same_clear_subject_for_every_claim() -> None:
    told = row(
        thing("cup", 100, 50, colour="red"), thing("spoon", 500, 60), thing("saucer", 120, 240, 90), absent=("dog", "car", "tree")
    )
    for claim in load_claims("objects").claims:
        chosen = [choose_subject(claim, told, seed=seed, image_id="i", unanswerable_share=0.3) for seed in range(20)]
        assert chosen == [choose_subject(claim, told, seed=seed, image_id="i", unanswerable_share=0.3) for seed in range(20)]
        assert any(chosen), claim.claim_id
        for subject in filter(None, chosen):
            truth = truth_of(claim.claim_id, told, subject.selectors)
            assert truth is not None
            assert (truth.clear, truth.answerable) == (True, subject.answerable)
            assert set(subject.values) == set(claim.prefill_slots)


def test_the_judge_decides_by_boxes_and_calls_it_verified() -> None:
    judge = open_judge(judge_settings({}))
    claim = load_claims("objects").claim("counting_object_instances")
    told = row(*(thing("coin", 40 + 50 * number, 100, 30, 30) for number in range(11)))
    subject = choose_subject(claim, told, seed=1, image_id="i", unanswerable_share=0.0)
    assert subject is not None
    for text, outcome in (("11", "correct"), ("about 12", "wrong"), ("many", "format_error"), ("0", "wrong_abstain")):
        verdict = judge.judge(claim, subject, Completion(True, {"COUNT": text}, ""), told)
        assert (verdict.outcome, verdict.kind) == (outcome, "verified")


def test_factors_are_read_off_the_boxes() -> None:
    told = row(thing("cup", 300, 150, 500, 280), thing("spoon", 300, 150, 20, 10))
    assert factors(told) == ("small_thing", "large_thing", "overlapping")
    assert set(factors(told)) <= set(FACTORS)
    assert factor_words("many_things") == FACTORS["many_things"]


def test_a_box_that_can_not_be_costs_the_claims_of_its_picture_and_not_the_run() -> None:
    from millrace.probing.baselines import baseline_settings, open_baseline
    from millrace.probing.ranks.probe_unit import Probe, probe_row

    guesser = open_baseline(baseline_settings({"name": "guess"}))
    probe = Probe(load_claims("objects"), guesser, open_judge(judge_settings({})), Path(), 1, 0.15)
    records = probe_row(probe, row(thing("cup", 900, 100)))
    assert {(record["kind"], record["reason"]) for record in records} == {("dropped", "bad_annotation")}
    assert "lies outside" in records[0]["detail"]


def test_three_thousand_boxes_are_decided_and_verified_in_seconds() -> None:
    from millrace.boxes import verifiers

    told = row(*(thing("seed", 10 + 6 * (n % 97), 5 + 9 * (n // 97), 5, 8) for n in range(3000)))
    assert right("counting_object_instances", told, OBJECT_TYPE={"label": "seed"}) == UNCLEAR  # specks
    larger = row(*(thing("seed", 10 + 6 * (n % 97), 7 + 9 * (n // 97), 5, 14) for n in range(3000)))
    assert values(right("counting_object_instances", larger, OBJECT_TYPE={"label": "seed"})) == {"COUNT": "3000"}
    assert len(verifiers.draw(larger).marks) == 3000


def test_a_picture_that_is_none_is_the_rows_failure() -> None:
    from millrace.lake.rows import ImageRef

    broken = LakeRow(ImageRef("img", "a.parquet", 0, ""), b"no picture", None, row(thing("cup", 100, 50)).annotation, {})
    with pytest.raises(ItemFailed):
        truth_of("counting_object_instances", broken, {"OBJECT_TYPE": CUP})


def test_a_kind_of_claim_is_three_files_of_one_name() -> None:
    rules = plugin_names("millrace.boxes.kinds")
    assert rules == plugin_names("millrace.boxes.verifiers")
    assert rules == list(plugin_files("millrace.boxes.wordings", "yaml"))
    assert {claim.claim_id for claim in load_claims("objects").claims} == set(claim_kinds())
    assert read_value("NO_SUCH_SLOT", "5") is None
    named = [path.name for path in (ROOT / "millrace" / "boxes").glob("*.py") if "object_presence" in path.read_text()]
    assert not named, "a kind of claim is listed nowhere"
