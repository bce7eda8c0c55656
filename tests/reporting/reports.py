"""A report like a real run's, with pictures from the lake and figures made up so that they add up."""

from __future__ import annotations

from io import BytesIO
from random import Random

import pytest
from PIL import Image

from millrace.records.question import CheckResult
from millrace.reporting.full_report import (
    ClaimResult,
    DatasetResult,
    Example,
    FactorResult,
    FunnelStage,
    JudgesResult,
    PaidRow,
    ReportData,
    StageTime,
)
from millrace.reporting.intervals import Rate

CLAIMS = (
    (
        "orientation_facing_direction",
        "Which way it faces",
        "The [OBJECT] points [VIEW_DIRECTION] and is [OBJECT_DIRECTION].",
        402,
        640,
    ),
    ("counting_object_instances", "Counting", "There are exactly [COUNT] [OBJECT_TYPE].", 731, 1600),
    (
        "intra_class_single_instance_localization",
        "One among its like",
        "Among the [OBJECT_CATEGORY], the one that is …",
        388,
        905,
    ),
    (
        "scale_proportion_estimation",
        "Share of the image",
        "The [TARGET_OBJECT] takes about [PROPORTION] of the image.",
        512,
        1480,
    ),
    ("entity_basic_grounding", "Naming the main thing", "The largest thing is a [ENTITY_TYPE].", 411, 1600),
    ("spatial_relative_position", "Where A is from B", "The [OBJECT_A] is [RELATIVE_DIRECTION] the [OBJECT_B].", 301, 1240),
    ("absence_negative_reasoning", "Where nothing is", "There is no [OBJECT_TYPE] in the [REGION_DESCRIPTION].", 197, 1512),
    ("spatial_absolute_position", "Where it is", "The [TARGET_OBJECT] is in the [ABSOLUTE_REGION].", 148, 1490),
)

FACTORS = (
    ("rotated", "a digit is turned by a quarter or more", (1035, 1990), (2055, 8477)),
    ("crowded", "four digits or more", (1490, 4350), (1600, 6117)),
    ("occlusion", "a digit is partly covered", (640, 2010), (2450, 8457)),
    ("small_size", "a digit is small", (905, 2960), (2185, 7507)),
    ("low_light", "the picture is dark", (560, 1790), (2530, 8677)),
    ("noise", "the picture is grainy", (585, 1800), (2505, 8667)),
    ("blur", "the picture is out of focus", (390, 1310), (2700, 9157)),
    ("clutter", "drawings that are no digits lie about", (655, 2280), (2435, 8187)),
)

QUESTIONS = (
    (
        "orientation_facing_direction",
        "wrong",
        "The green 7 points … and is …",
        "up, upright",
        "right, turned clockwise",
        "Which way does the top of the green 7 point?",
        {"A": "down", "B": "right", "C": "up", "D": "left"},
        "B",
        "C",
    ),
    (
        "counting_object_instances",
        "wrong",
        "There are exactly … red digits.",
        "2",
        "4",
        "How many red digits are in the picture?",
        {"A": "5", "B": "2", "C": "3", "D": "4"},
        "D",
        "B",
    ),
    (
        "entity_basic_grounding",
        "hallucinated",
        "The largest thing is a …",
        "digit 1",
        "does not apply: the page is empty",
        "Is there a digit on the page?",
        {"A": "yes", "B": "no"},
        "B",
        "B",
    ),
    (
        "scale_proportion_estimation",
        "wrong",
        "The purple digit takes about … of the image.",
        "4 %",
        "13 %",
        "About what share of the image does the purple digit take?",
        {},
        "13 %",
        "5 %",
    ),
    (
        "absence_negative_reasoning",
        "wrong_abstain",
        "There is no blue digit in the …",
        "does not apply",
        "top left",
        "In which quarter is there no blue digit?",
        {"A": "top right", "B": "top left", "C": "bottom left", "D": "bottom right"},
        "B",
        None,
    ),
    (
        "spatial_relative_position",
        "format_error",
        "The orange 3 is … the black 0.",
        "(a reply that cannot be read)",
        "above",
        "Where is the orange 3, seen from the black 0?",
        {"A": "above", "B": "below", "C": "left of it", "D": "right of it"},
        "A",
        "D",
    ),
)


def picture(number: int) -> tuple[bytes, tuple[str, ...]]:
    """A scene as JPEG bytes, and its factors."""
    draw_scene = pytest.importorskip("millrace.digits.scenes.compose").draw_scene
    drawn = draw_scene(Random(number), pool="probe")
    file = BytesIO()
    Image.fromarray(drawn.rgb).save(file, "JPEG", quality=92)
    return file.getvalue(), drawn.scene.factors


def example(index: int) -> Example:
    """One card of the gallery."""
    claim_id, outcome, claim, said, right, question, options, answer, again = QUESTIONS[index % len(QUESTIONS)]
    image, factors = picture(40 + index)
    return Example(
        claim_id=claim_id,
        image=image,
        image_id=f"img_{index:012x}",
        outcome=outcome,
        claim=claim,
        model_answer=said,
        right_answer=right,
        factors=factors,
        question=question,
        options=options,
        answer=answer,
        verification="verified",
        verified_by="label map",
        checks=(
            CheckResult("answer_is_an_option", True),
            CheckResult("one_right_option", True),
            CheckResult("no_leak", True),
            CheckResult("computed_again_from_pixels", True, "same answer"),
            CheckResult("not_guessable_without_image", index % 5 != 4, "0.27 against 0.25 by chance"),
        ),
        baseline_answer=again,
        baseline_correct=None if again is None else again == answer,
    )


def full_report() -> ReportData:
    """A complete run."""
    return ReportData(
        title="Where the embedded baseline fails on digit scenes",
        status="complete",
        model="embedded",
        model_detail="a small vision-language model, trained on the spot on deliberately narrow data (fingerprint 4f1c9a02d7e1)",
        lake="1,600 digit scenes made of real handwritten digits, seed 7",
        images=1600,
        created="2027-03-02 14:05",
        outcomes={
            "correct": 6420,
            "right_abstain": 957,
            "wrong": 2410,
            "wrong_abstain": 211,
            "hallucinated": 421,
            "format_error": 48,
            "infra_error": 0,
            "judge_uncertain": 3,
        },
        claims=tuple(ClaimResult(claim_id, name, asks, Rate(failures, n)) for claim_id, name, asks, failures, n in CLAIMS),
        factors=tuple(FactorResult(name, means, Rate(*present), Rate(*absent)) for name, means, present, absent in FACTORS),
        funnel=(
            FunnelStage("Probing", "claims on images", 12800, 10470, {"no_subject": 2328, "truncated_image": 2}),
            FunnelStage("Filtering", "failures selected", 3090, 1000, {"over_quota": 2090}),
            FunnelStage("Questions", "questions", 1000, 912, {"duplicate": 41, "not_verified": 22, "leak": 9, "not_unique": 16}),
        ),
        wall_s=148.0,
        times=(
            StageTime("lake", 9.1, 8.8),
            StageTime("baseline training", 71.4, 70.2),
            StageTime("probing", 41.0, 37.5),
            StageTime("filtering", 1.9, 1.1),
            StageTime("questions", 18.3, 15.9),
            StageTime("start and stop", 6.3, 0.0),
        ),
        dataset=DatasetResult(
            912,
            "dataset/",
            {"verified": 912, "judged": 0, "unverified": 0},
            {"multiple_choice": 640, "fill_in_blank": 182, "yes_no": 90},
            {"train": 731, "heldout": 181},
            Rate(611, 912),
        ),
        gallery=tuple(example(index) for index in range(12)),
        reproduce=("git checkout 1f0a2c9", "make install", "python -m flows.full --config config.json --run-dir runs/again"),
        settings={
            "probing.seed": "42",
            "probing.target_failure_count": "null",
            "filtering.per_image": "2",
            "qa.types": "multiple_choice 0.7, fill_in_blank 0.2, yes_no 0.1",
        },
        versions={
            "millrace": "0.1.0",
            "python": "3.11.7",
            "prefect": "3.8.8",
            "torch": "2.13.0",
            "claim set": "default 1.0 (sha 9c1e…)",
        },
        limits=(
            "The images are drawn from real handwritten digits; how the model does on photographs is another matter.",
            "The answers come from the program that drew the images; it and the check could both misread a word like “beside”.",
            "A model that was trained on this dataset has not been measured here.",
        ),
        paid=(
            PaidRow("2027-03-02", "judge", "a-judge", 5120, 5377, 1_894_400, 204_800, 0.4915),
            PaidRow("2027-03-02", "write", "a-writer <of unknown price>", 912, 912, None, None, None),
        ),
        judges=JudgesResult(1703, 1490, 12, 0.713, {"a-judge": Rate(61, 1691), "another/judge": Rate(118, 1691)}),
    )


def empty_report() -> ReportData:
    """A run that measured nothing."""
    return ReportData(
        title="Nothing yet",
        status="short of its target",
        model="embedded",
        model_detail="",
        lake="no images",
        images=None,
        created="2027-03-02",
        outcomes={},
        claims=(ClaimResult("counting_object_instances", "Counting", "There are exactly [COUNT].", Rate(0, 0)),),
        factors=(FactorResult("noise", "grainy", Rate(0, 0), Rate(0, 0)),),
        funnel=(),
        wall_s=None,
        times=(),
        dataset=None,
        gallery=(),
        reproduce=("python -m flows.full",),
    )
