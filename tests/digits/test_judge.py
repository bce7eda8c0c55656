"""The embedded judge: each of the eight outcomes, and that it rejects every corrupted answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from millrace.digits.claim_vocabulary import KINDS, SLOT_KINDS, percent
from millrace.digits.kinds import truth_of
from millrace.digits.scenes.scene import Scene
from millrace.digits.subjects import choose_subject
from millrace.probing.annotated import Subject, Truth
from millrace.probing.baselines import Completion
from millrace.probing.claims import Claim, load_claims
from millrace.probing.judges import Verdict, judge_settings, open_judge
from millrace.probing.outcomes import decide, failure_id_of
from millrace.records.outcome import FAILURES, OUTCOMES, SUCCESSES, Outcome
from millrace.reporting.intervals import rate_of
from tests.digits.hand_scenes import digit, drawn_scenes, row, scene

CLAIMS = load_claims("default")
JUDGE = open_judge(judge_settings({"name": "annotation"}))
ABSTENTION = Completion(related=False, values={}, text="NOT_RELATED")

SEVEN = scene(digit(7, "red", 30, 30), digit(3, "blue", 150, 100))
WHERE = CLAIMS.claim("spatial_absolute_position")
THE_SEVEN = Subject({"TARGET_OBJECT": "the 7"}, {"TARGET_OBJECT": {"label": 7}}, answerable=True)
NO_NINE = Subject({"TARGET_OBJECT": "the 9"}, {"TARGET_OBJECT": {"label": 9}}, answerable=False)


def said(**values: str) -> Completion:
    return Completion(related=True, values=values, text="")


def verdict_on(claim: Claim, subject: Subject, completion: Completion, annotated: Scene | None = SEVEN) -> Verdict:
    return JUDGE.judge(claim, subject, completion, row(annotated))


class BrokenJudge:
    name = "broken"

    def judge(self, claim: Claim, subject: Subject, completion: Completion, row: Any) -> Verdict:
        raise ConnectionError("the judge's endpoint is gone")


@pytest.mark.parametrize(
    ("subject", "completion", "outcome"),
    [
        (THE_SEVEN, said(ABSOLUTE_REGION="top left"), "correct"),
        (THE_SEVEN, said(ABSOLUTE_REGION="Upper-left corner"), "correct"),
        (THE_SEVEN, said(ABSOLUTE_REGION="top right"), "wrong"),
        (THE_SEVEN, ABSTENTION, "wrong_abstain"),
        (THE_SEVEN, said(ABSOLUTE_REGION="NOT_RELATED"), "wrong_abstain"),
        (THE_SEVEN, said(ABSOLUTE_REGION="somewhere"), "format_error"),
        (THE_SEVEN, said(), "format_error"),
        (NO_NINE, ABSTENTION, "right_abstain"),
        (NO_NINE, said(ABSOLUTE_REGION="top left"), "hallucinated"),
        (NO_NINE, said(ABSOLUTE_REGION="left of the house"), "format_error"),
    ],
)
def test_every_reply_has_its_outcome(subject: Subject, completion: Completion, outcome: str) -> None:
    verdict = verdict_on(WHERE, subject, completion)
    assert verdict.outcome == outcome
    assert verdict.kind == "verified"
    assert verdict.explanation


def test_a_right_abstention_is_no_failure_and_a_hallucination_is_one() -> None:
    assert failure_id_of(verdict_on(WHERE, NO_NINE, ABSTENTION).outcome, WHERE) is None
    assert (
        failure_id_of(verdict_on(WHERE, NO_NINE, said(ABSOLUTE_REGION="centre")).outcome, WHERE) == "FR_ABSOLUTE_POSITION_ERROR"
    )


@pytest.mark.parametrize("claim", CLAIMS.claims, ids=lambda claim: claim.claim_id)
def test_exceptions_of_baseline_and_judge_are_infra_errors_and_no_failures(claim: Claim) -> None:
    for judge, completion in ((JUDGE, RuntimeError("CUDA out of memory")), (BrokenJudge(), ABSTENTION)):
        decision = decide(judge, claim, THE_SEVEN, completion, row(SEVEN))
        assert decision.verdict.outcome == "infra_error"
        assert failure_id_of(decision.verdict.outcome, claim) is None
        assert decision.error is not None
        assert decision.error.message


def test_what_the_annotation_does_not_settle_is_uncertain_and_no_failure() -> None:
    unclear = Subject({"TARGET_OBJECT": "the 7"}, {"TARGET_OBJECT": {"label": 7}}, answerable=True)
    twins = scene(digit(7, "red", 30, 30), digit(7, "blue", 150, 100))
    foreign = CLAIMS.disabled[0]
    for verdict in (
        verdict_on(WHERE, unclear, said(ABSOLUTE_REGION="top left"), twins),
        verdict_on(WHERE, THE_SEVEN, said(ABSOLUTE_REGION="top left"), None),
        verdict_on(foreign, THE_SEVEN, said(PROPERTY="old")),
    ):
        assert (verdict.outcome, verdict.kind) == ("judge_uncertain", "unverified")
        assert verdict.outcome not in FAILURES


def test_the_eight_outcomes_are_failures_successes_or_neither() -> None:
    assert set(OUTCOMES) == {outcome.value for outcome in Outcome}
    assert len(OUTCOMES) == 10
    assert set(OUTCOMES) - FAILURES - SUCCESSES == {"infra_error", "judge_uncertain", "cut_off", "filtered"}
    assert rate_of({"infra_error": 5, "judge_uncertain": 2}).rate is None
    assert rate_of({"wrong": 1, "correct": 2, "right_abstain": 1, "infra_error": 96}).rate == 0.25


def answered() -> list[tuple[Claim, Subject, Scene, Truth]]:
    found = []
    for number, (_, annotated, _) in enumerate(drawn_scenes(80)):
        for claim in CLAIMS.claims:
            subject = choose_subject(claim, annotated, seed=9, image_id=str(number), unanswerable_share=0.0)
            if subject is not None and subject.answerable:
                truth = truth_of(claim.claim_id, annotated, subject.selectors)
                assert truth is not None
                found.append((claim, subject, annotated, truth))
    return found


ANSWERED = answered()


def test_every_right_answer_is_correct_and_every_corrupted_one_is_wrong() -> None:
    """Mutation test: each slot's right value is replaced by each other value of its kind."""
    corrupted = 0
    for claim, subject, annotated, truth in ANSWERED:
        assert verdict_on(claim, subject, said(**truth.correct), annotated).outcome == "correct"
        for slot, accepted in truth.accepted.items():
            for value in KINDS[SLOT_KINDS[slot]]:
                if slot == "PROPORTION" or value in accepted:
                    continue
                corrupted += 1
                assert verdict_on(claim, subject, said(**{**truth.correct, slot: value}), annotated).outcome == "wrong"
    assert corrupted > 1000


def test_an_answer_about_another_picture_is_mostly_rejected() -> None:
    for claim in CLAIMS.claims:
        mine = [case for case in ANSWERED if case[0] is claim]
        swapped = [
            verdict_on(claim, subject, said(**other.correct), annotated).outcome
            for (_, subject, annotated, truth), (_, _, _, other) in zip(mine, mine[1:] + mine[:1], strict=True)
            if not any(set(truth.accepted[slot]) & set(other.accepted[slot]) for slot in truth.accepted)
        ]
        assert swapped.count("correct") <= 0.4 * len(swapped), claim.claim_id  # percentages may be near each other


def test_abstaining_from_what_applies_is_wrong_for_every_claim() -> None:
    outcomes = {verdict_on(claim, subject, ABSTENTION, annotated).outcome for claim, subject, annotated, _ in ANSWERED}
    assert outcomes == {"wrong_abstain"}


def test_any_free_quarter_is_a_right_answer_for_what_is_missing() -> None:
    claim = CLAIMS.claim("absence_negative_reasoning")
    subject = Subject({"OBJECT_TYPE": "7s"}, {"OBJECT_TYPE": {"label": 7}}, answerable=True)
    outcomes = {
        quarter: verdict_on(claim, subject, said(REGION_DESCRIPTION=quarter)).outcome
        for quarter in ("top left", "top right", "bottom left", "bottom right")
    }
    assert outcomes == {"top left": "wrong", "top right": "correct", "bottom left": "correct", "bottom right": "correct"}


def test_a_kind_in_every_quarter_leaves_nothing_to_answer() -> None:
    claim = CLAIMS.claim("absence_negative_reasoning")
    everywhere = scene(*(digit(3, "red", x, y) for x in (40, 160) for y in (40, 160)))
    subject = Subject({"OBJECT_TYPE": "digits"}, {"OBJECT_TYPE": {}}, answerable=False)
    assert verdict_on(claim, subject, ABSTENTION, everywhere).outcome == "right_abstain"
    assert verdict_on(claim, subject, said(REGION_DESCRIPTION="top left"), everywhere).outcome == "hallucinated"


def test_a_proportion_is_right_within_the_claims_stated_tolerance() -> None:
    claim = CLAIMS.claim("scale_proportion_estimation")
    subject = Subject({"TARGET_OBJECT": "the 7"}, {"TARGET_OBJECT": {"label": 7}}, answerable=True)
    large = scene(digit(7, "red", 100, 100, size=80))  # 16 % of the picture; 35 % of that is 5.6
    texts = ("16%", "11 %", "about 21.5%", "10%", "22%")
    outcomes = {text: verdict_on(claim, subject, said(PROPORTION=text), large) for text in texts}
    assert [verdict.outcome for verdict in outcomes.values()] == ["correct", "correct", "correct", "wrong", "wrong"]
    low, high = outcomes["16%"].accepted["PROPORTION"]
    assert (percent(low), percent(high)) == (10.4, 21.6)
    assert outcomes["16%"].correct == {"PROPORTION": "16.0%"}


def test_an_orientation_needs_both_slots() -> None:
    claim = CLAIMS.claim("orientation_facing_direction")
    turned = scene(digit(4, "red", 100, 100, turn=1))
    subject = Subject({"OBJECT": "the 4"}, {"OBJECT": {"label": 4}}, answerable=True)
    right = {"VIEW_DIRECTION": "right", "OBJECT_DIRECTION": "turned clockwise"}
    assert verdict_on(claim, subject, said(**right), turned).outcome == "correct"
    assert verdict_on(claim, subject, said(**{**right, "OBJECT_DIRECTION": "upright"}), turned).outcome == "wrong"
    assert verdict_on(claim, subject, said(VIEW_DIRECTION="right"), turned).outcome == "format_error"


def test_a_count_of_zero_is_an_abstention_and_a_count_beyond_the_list_is_a_format_error() -> None:
    claim = CLAIMS.claim("counting_object_instances")
    sevens = Subject({"OBJECT_TYPE": "7s"}, {"OBJECT_TYPE": {"label": 7}}, answerable=True)
    nines = Subject({"OBJECT_TYPE": "9s"}, {"OBJECT_TYPE": {"label": 9}}, answerable=False)
    assert verdict_on(claim, sevens, said(COUNT="0")).outcome == "wrong_abstain"
    assert verdict_on(claim, nines, said(COUNT="zero")).outcome == "right_abstain"
    assert verdict_on(claim, nines, said(COUNT="1")).outcome == "hallucinated"
    assert verdict_on(claim, sevens, said(COUNT="one")).outcome == "correct"
    assert verdict_on(claim, sevens, said(COUNT="12")).outcome == "format_error"


def test_of_two_that_overlap_the_covering_one_is_in_front_and_a_clear_side_is_right_too() -> None:
    claim = CLAIMS.claim("spatial_relative_position")
    pair = scene(digit(7, "red", 100, 100, visible=0.8, z=1), digit(3, "blue", 120, 102, z=2))
    subject = Subject(
        {"OBJECT_A": "the 7", "OBJECT_B": "the 3"}, {"OBJECT_A": {"label": 7}, "OBJECT_B": {"label": 3}}, answerable=True
    )
    outcomes = {value: verdict_on(claim, subject, said(RELATIVE_DIRECTION=value), pair).outcome for value in KINDS["direction"]}
    assert [value for value, outcome in outcomes.items() if outcome == "correct"] == ["left of", "behind"]


def test_the_words_of_a_users_own_claim_set_are_understood() -> None:
    values = ["upper-left", "upper-right", "lower-left", "lower-right", "center"]
    slots = {**WHERE.slots, "ABSOLUTE_REGION": WHERE.slots["ABSOLUTE_REGION"].model_copy(update={"values": tuple(values)})}
    mine = WHERE.model_copy(update={"slots": slots})
    assert verdict_on(mine, THE_SEVEN, said(ABSOLUTE_REGION="upper-left")).outcome == "correct"
    assert verdict_on(mine, THE_SEVEN, said(ABSOLUTE_REGION="top centre")).outcome == "format_error"


def test_a_row_of_any_other_kind_is_uncertain() -> None:
    assert JUDGE.judge(WHERE, THE_SEVEN, ABSTENTION, SimpleNamespace()).outcome == "judge_uncertain"
