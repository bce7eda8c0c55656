"""What only the whole set shows."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from millrace.qa.checking.check_shards import answers_rightly
from millrace.qa.checking.question_checks import RULES
from millrace.qa.checking.whole_set import Settlement, rebalance, settle
from millrace.qa.settings import QaSettings
from millrace.run.journal import read_jsonl, write_jsonl
from tests.fixtures.questions import as_item

Item = dict[str, Any]
COLOURS = ("red", "blue", "green", "orange", "purple", "black")


@pytest.fixture
def settled(tmp_path: Path) -> Callable[..., tuple[Settlement, list[Item], list[Item]]]:
    def run(items: Iterable[Item], **over: Any) -> tuple[Settlement, list[Item], list[Item]]:
        listed = list(items)
        shards = [tmp_path / f"shard-{number:05d}.jsonl" for number in range(3)]
        for number, shard in enumerate(shards):
            write_jsonl(shard, listed[number::3])
        report = settle(shards, tmp_path / "out", tmp_path / "lost.jsonl", QaSettings(**over))
        kept = [item for shard in report.shards for item in read_jsonl(Path(shard))]
        return report, kept, list(read_jsonl(tmp_path / "lost.jsonl"))

    return run


def choice(number: int, right: str, wrong: list[str], *, at: int = 0, question: str = "Which colour is it?") -> Item:
    texts = [*wrong[:at], right, *wrong[at:]]
    options = dict(zip("ABCD", texts, strict=True))
    key = "ABCD"[at]
    return {
        "kind": "item",
        "id": f"qa_{number:05d}",
        "sample_index": number,
        "source_a_id": f"img_{number}",
        "trace_id": f"sel_{number}",
        "source_a": {"id": f"img_{number}"},
        "explanation": "",
        "pipeline_intent": "question",
        "answer_type": "colour",
        "validation_passed": None,
        "validation_score": None,
        "verification": {"status": "unverified", "by": None, "checks": []},
        "image": {"image_id": f"img_{number}", "sha256": f"{number:016x}", "file": "a", "row": number},
        "question": question,
        "full_question": "\n".join([question, *(f"{k}: {t}" for k, t in options.items())]),
        "question_type": "multiple_choice",
        "options": options,
        "answer": key,
        "correct_option": key,
        "answer_text": right,
        "accepted_answers": [],
        "pipeline_name": "question",
        "language": "en",
        "task": {"aspect": "", "family": "", "selectors": {}, "form": "", "statement": None, "value": right},
        "distractors": {k: {"value": t, "kind": "other"} for k, t in options.items() if k != key},
        "difficulty": {"baseline_correct": True, "asked": 1, "answers": [key]},
        "lineage": {
            "selection_id": f"sel_{number}",
            "outcome_id": "out",
            "outcome": "wrong",
            "failure_id": "FR",
            "claim_id": "c",
            "claim": "",
            "prefilled_values": {},
            "answerable": True,
            "baseline": None,
            "correct": {},
            "accepted": {},
            "factors": [],
            "judge": {},
        },
        "provenance": {"writer": "w", "template": "", "variant": 0, "attempt": 0, "seed": 0},
    }


def fair_set(count: int, seed: int = 0) -> list[Item]:
    rng = random.Random(seed)
    items = []
    for number in range(count):
        picked = rng.sample(COLOURS, 4)
        items.append(choice(number, picked[0], picked[1:], at=number % 4))
    return items


def test_a_fair_set_is_kept_whole_and_its_guessing_rate_is_told(settled: Callable[..., Any]) -> None:
    report, kept, lost = settled(fair_set(600))
    assert (report.seen, report.kept, report.dropped, report.moved) == (600, 600, {}, 0)
    assert len(kept) == 600
    assert not lost
    told = report.blind["multiple_choice by options"]
    assert told.n == 600
    assert told.low <= told.chance == 0.25


def test_a_value_that_is_mostly_right_is_noticed_and_its_questions_dropped(settled: Callable[..., Any]) -> None:
    rng = random.Random(1)
    leaky = []
    for number in range(600):
        others = rng.sample([colour for colour in COLOURS if colour != "red"], 4)
        right, wrong = ("red", others[:3]) if rng.random() < 0.5 else (others[0], [*others[1:3], "red"])
        leaky.append(choice(number, right, wrong, at=number % 4))
    watched, _, _ = settled(leaky, blind_check="report")
    assert watched.kept == 600
    assert watched.blind["multiple_choice by options"].low > 0.4
    report, kept, lost = settled(leaky)
    assert report.blind["multiple_choice by options"].low <= 0.25
    assert report.blind["multiple_choice by words"].low <= 0.25
    assert report.dropped.keys() == {"blind_answerable"}
    assert {record["reason"] for record in lost} == {"blind_answerable"}
    assert report.seen == report.kept + sum(report.dropped.values()) == len(kept) + len(lost)


@pytest.mark.parametrize("tell", ["a word of the question", "the longest option"])
def test_other_ways_of_giving_it_away_are_noticed_too(settled: Callable[..., Any], tell: str) -> None:
    rng = random.Random(2)
    leaky = []
    for number in range(500):
        picked = rng.sample(COLOURS, 4)
        question = f"Which colour is it, {picked[0][::-1]}?" if tell == "a word of the question" else "Which colour is it?"
        right = f"{picked[0]}, a really long one" if tell == "the longest option" else picked[0]
        leaky.append(choice(number, right, picked[1:], at=number % 4, question=question))
    report, _, _ = settled(leaky, blind_check="report")
    assert max(told.low for told in report.blind.values()) > 0.4


def test_of_two_questions_that_say_the_same_one_stays_whatever_their_order(settled: Callable[..., Any]) -> None:
    items = fair_set(8)
    twin = items[0] | {"id": "qa_99999"}
    reworded = items[1] | {"id": "qa_99998", "question": "Is it which colour?"}  # the same words in another order
    elsewhere = choice(77, items[2]["answer_text"], ["a", "b", "c"])
    report, kept, lost = settled([*items, twin, reworded, elsewhere])
    assert report.dropped == {"duplicate": 1, "near_duplicate": 1}
    assert {item["id"] for item in kept} == {item["id"] for item in [*items, elsewhere]}
    turned, kept_too, _ = settled([elsewhere, reworded, twin, *items[::-1]])
    assert turned.dropped == report.dropped
    assert {item["id"] for item in kept_too} == {item["id"] for item in kept}
    assert {record["id"] for record in lost} == {"qa_99999", "qa_99998"}


def test_right_options_that_crowd_at_one_place_are_moved_and_stay_right(settled: Callable[..., Any]) -> None:
    items = fair_set(400)
    crowded = [item for number, item in enumerate(items) if item["answer"] == "A" or number % 3]
    report, kept, _ = settled(crowded)
    assert report.moved > 0
    assert max(report.positions.values()) - min(report.positions.values()) <= 1
    before = {item["id"]: item for item in crowded}
    for item in kept:
        old = before[item["id"]]
        assert item["answer_text"] == old["answer_text"] == item["options"][item["answer"]]
        assert Counter(item["options"].values()) == Counter(old["options"].values())
        assert answers_rightly(as_item(item), item["difficulty"]["answers"][0])
        assert not {name for name in ("answer_type", "options") if RULES[name](as_item(item))}
        assert item["distractors"].keys() == item["options"].keys() - {item["answer"]}


def test_one_place_for_all_right_options_is_mended_and_costs_no_question(settled: Callable[..., Any]) -> None:
    rng = random.Random(3)
    items = [choice(number, *((picked := rng.sample(COLOURS, 4))[0], picked[1:]), at=2) for number in range(400)]
    report, _, _ = settled(items)
    assert (report.kept, report.positions) == (400, {"A": 100, "B": 100, "C": 100, "D": 100})


def test_places_that_are_even_enough_are_left_as_the_baseline_saw_them() -> None:
    assert rebalance(map(as_item, fair_set(100))) == {}
    assert rebalance([]) == {}


def test_questions_made_from_a_lopsided_models_failures_cannot_be_guessed(accepted: list[Path], tmp_path: Path) -> None:
    report = settle(accepted, tmp_path / "out", tmp_path / "lost.jsonl", QaSettings())
    assert all(told.low <= told.chance for told in report.blind.values())
    assert report.kept > 0.9 * report.seen
