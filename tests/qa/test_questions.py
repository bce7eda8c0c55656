"""From failures to checked questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millrace.errors import ItemFailed, RunFailed, UsageError
from millrace.filtering.routing import PIPELINES
from millrace.qa.annotated import question_rules
from millrace.qa.checking.check_shards import answers_rightly, check_shard, measure_difficulty
from millrace.qa.settings import QaSettings, QuestionTypeRatio
from millrace.qa.writers import Draft, Option, Request, open_writer
from millrace.qa.writing.pipelines import load_pipelines
from millrace.qa.writing.write_shards import StageReport, check_yield, plan_questions, survey_shard, write_questions, write_shard
from millrace.records.question import AskedQuestion
from millrace.run.journal import read_jsonl, write_jsonl
from tests.fixtures.questions import Stage, as_item

Item = dict[str, Any]


def test_every_question_is_verified_and_all_eight_pipelines_have_some(items: list[Item]) -> None:
    assert len(items) > 250
    assert {item["verification"]["status"] for item in items} == {"verified"}
    assert all(check["passed"] for item in items for check in item["verification"]["checks"])
    answered = {key for key, value in load_pipelines().items() if value.slots} - {"object_presence"}  # digits never ask for it
    assert {item["pipeline_name"] for item in items} == answered
    assert all(item["validation_passed"] and item["validation_score"] == 1.0 for item in items)


def test_the_pipelines_here_are_those_that_failures_are_routed_to() -> None:
    assert set(load_pipelines()) == set(PIPELINES)


def test_the_funnel_adds_up_to_the_record(stage: Stage, accepted: list[Path]) -> None:
    for selection, kept in zip(stage.shards, accepted, strict=True):
        refused = list(read_jsonl(kept.parent.parent / "rejected" / kept.name))
        incoming = [record["id"] for record in read_jsonl(selection)]
        outgoing = [item["lineage"]["selection_id"] for item in read_jsonl(kept)] + [r["selection_id"] for r in refused]
        assert sorted(incoming) == sorted(outgoing)
        assert all(record["reason"] and record["detail"] for record in refused)


def test_a_question_is_about_the_very_subject_that_failed(items: list[Item], stage: Stage) -> None:
    records = {case.id: case.record for case in stage.cases()}
    for item in items:
        record = records[item["lineage"]["selection_id"]]
        assert item["task"]["selectors"] == record.selectors
        assert item["lineage"]["failure_id"] == record.failure_id
        assert item["lineage"]["baseline"] == msgspec.to_builtins(record.origin.baseline)


def test_most_choices_offer_what_the_model_itself_had_answered(items: list[Item]) -> None:
    choices = [item for item in items if item["question_type"] == "multiple_choice"]
    own = [item for item in choices if any(told["kind"] == "baseline_answer" for told in item["distractors"].values())]
    assert len(own) > 0.6 * len(choices)


def test_a_hallucination_becomes_a_question_whose_right_option_is_not_a_giveaway(items: list[Item]) -> None:
    absent = "there is no such digit"
    right = [item for item in items if item["answer_text"] == absent]
    wrong = [item for item in items if absent in item["options"].values() and item["answer_text"] != absent]
    assert {item["lineage"]["outcome"] for item in right} == {"hallucinated"}
    assert right
    assert len(wrong) > len(right)


def test_right_options_stand_in_every_place_about_equally_often(items: list[Item]) -> None:
    places = Counter(item["answer"] for item in items if item["question_type"] == "multiple_choice")
    assert set(places) == set("ABCD")
    assert max(places.values()) - min(places.values()) < 0.15 * places.total()


def test_forms_follow_the_ratio_as_far_as_balance_allows(items: list[Item]) -> None:
    forms = Counter(item["question_type"] for item in items)
    assert forms["multiple_choice"] > forms["yes_no"] > 0
    assert forms["fill_in_blank"] > 0


def test_questions_of_a_pipeline_are_worded_in_many_ways(items: list[Item]) -> None:
    for pipeline in {item["pipeline_name"] for item in items}:
        assert len({item["provenance"]["template"] for item in items if item["pipeline_name"] == pipeline}) >= 6


def test_a_shard_written_again_has_the_same_bytes(stage: Stage, tmp_path: Path) -> None:
    qa = QaSettings()
    backwards = plan_questions([survey_shard(shard, stage.lake, qa) for shard in reversed(stage.shards)], qa)
    assert backwards == stage.plan(qa)
    for path in (tmp_path / "a.jsonl", tmp_path / "b.jsonl"):
        write_shard(stage.shards[1], path, stage.lake, qa, backwards)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_a_finished_shard_is_left_alone(stage: Stage, accepted: list[Path]) -> None:
    qa = QaSettings()
    written = stage.folder / "default" / "written" / accepted[0].name
    before = written.stat().st_ino, accepted[0].stat().st_ino
    first = write_shard(stage.shards[0], written, stage.lake, qa, stage.plan(qa))
    rejected = stage.folder / "default" / "rejected" / accepted[0].name
    second = check_shard(written, None, accepted[0], rejected, stage.lake, qa)
    assert (written.stat().st_ino, accepted[0].stat().st_ino) == before
    assert first.seen == first.kept + sum(first.dropped.values())
    assert second.seen == second.kept + sum(second.dropped.values()) == first.seen


@pytest.mark.parametrize("form", ["multiple_choice", "yes_no", "fill_in_blank"])
def test_a_ratio_of_one_form_makes_only_that_form(stage: Stage, tmp_path: Path, form: str) -> None:
    shares = {name: float(name == form) for name in ("multiple_choice", "yes_no", "fill_in_blank")}
    qa = QaSettings(question_type_ratio=QuestionTypeRatio(**shares))
    report = write_shard(stage.shards[0], tmp_path / "s.jsonl", stage.lake, qa, stage.plan(qa))
    assert report.kept > 10
    assert {item["question_type"] for item in read_jsonl(tmp_path / "s.jsonl")} == {form}


def test_a_second_question_about_a_failure_has_another_form_or_aspect(stage: Stage, tmp_path: Path) -> None:
    qa = QaSettings(items_per_failure=2)
    report = write_shard(stage.shards[0], tmp_path / "s.jsonl", stage.lake, qa, stage.plan(qa))
    assert report.seen == 2 * sum(1 for _ in read_jsonl(stage.shards[0]))
    asked: dict[str, set[tuple[str, str]]] = {}
    for item in read_jsonl(tmp_path / "s.jsonl"):
        kind = item["question_type"], item["task"]["aspect"]
        assert kind not in asked.setdefault(item["lineage"]["selection_id"], set())
        asked[item["lineage"]["selection_id"]].add(kind)
    assert sum(len(kinds) == 2 for kinds in asked.values()) > 0.4 * len(asked)


def test_chinese_questions_pass_the_same_checks(stage: Stage) -> None:
    qa = QaSettings(language="zh")
    [shard] = stage.run("chinese", qa, shards=1)
    items = list(read_jsonl(shard))
    assert len(items) > 100
    assert all(item["verification"]["status"] == "verified" and not item["question"].isascii() for item in items)


@pytest.mark.parametrize("pipeline", ["caption", "question", "place_recognition", "text_association"])
def test_a_pipeline_that_needs_knowledge_of_the_world_drops_with_a_reason(stage: Stage, tmp_path: Path, pipeline: str) -> None:
    record = next(iter(read_jsonl(stage.shards[0]))) | {"pipeline_type": pipeline}
    write_jsonl(tmp_path / "in.jsonl", [record])
    report = write_shard(tmp_path / "in.jsonl", tmp_path / "out.jsonl", stage.lake, QaSettings(), stage.plan(QaSettings()))
    assert (report.kept, report.dropped) == (0, {"not_computable": 1})


def test_a_changed_image_and_a_senseless_record_are_dropped_with_their_reasons(stage: Stage, tmp_path: Path) -> None:
    records = list(read_jsonl(stage.shards[0]))[:3]
    position = next(r for r in read_jsonl(stage.shards[0]) if r["pipeline_type"] == "object_position")
    records[0]["source_a"]["sha256"] = "0" * 16
    records[1]["source_a"]["image_path"] = "gone.parquet"
    records[2] = position | {"selectors": {"TARGET_OBJECT": 7}}
    write_jsonl(tmp_path / "in.jsonl", records)
    report = write_shard(tmp_path / "in.jsonl", tmp_path / "out.jsonl", stage.lake, QaSettings(), stage.plan(QaSettings()))
    assert report.dropped == {"image_changed": 1, "missing_file": 1, "unreadable_record": 1}


def test_a_record_as_the_original_wrote_it_is_taken_or_dropped_with_a_reason(stage: Stage, tmp_path: Path) -> None:
    """No lineage, no selectors, a number for an id: what can be asked without them is asked."""
    kinds = ("visual_recognition", "object_counting")
    found = [next(r for r in read_jsonl(stage.shards[0]) if r["pipeline_type"] == kind) for kind in kinds]
    kept = ("source_a", "prefill", "pipeline_type", "pipeline_name", "sample_index")
    write_jsonl(tmp_path / "in.jsonl", [{name: r[name] for name in kept} | {"id": number} for number, r in enumerate(found)])
    report = write_shard(tmp_path / "in.jsonl", tmp_path / "out.jsonl", stage.lake, QaSettings(), stage.plan(QaSettings()))
    [item] = read_jsonl(tmp_path / "out.jsonl")
    assert item["pipeline_name"] == "visual_recognition"
    assert report.dropped == {"unreadable_record": 1}


def test_the_baselines_answers_measure_difficulty_and_can_be_a_gate(stage: Stage) -> None:
    def always_right(item: Item) -> list[str]:
        return [item["answer"]]

    def right_on_even(item: Item) -> list[str]:
        return [item["answer"] if item["sample_index"] % 2 == 0 else "E"]

    gate = QaSettings(keep="baseline_fails")
    easy = stage.run("easy", gate, always_right, shards=1)
    assert sum(1 for shard in easy for _ in read_jsonl(shard)) == 0
    assert "too_easy" in {r["reason"] for shard in easy for r in read_jsonl(shard.parent.parent / "rejected" / shard.name)}
    hard = [item for shard in stage.run("hard", gate, right_on_even, shards=1) for item in read_jsonl(shard)]
    assert hard
    assert all(item["sample_index"] % 2 and item["difficulty"]["baseline_correct"] is False for item in hard)


def test_difficulty_is_unknown_when_nobody_was_asked(items: list[Item]) -> None:
    assert {item["difficulty"]["baseline_correct"] for item in items} == {None}
    assert (
        measure_difficulty(as_item(items[0]), AskedQuestion(id="x", answers=(), error="out of memory")).baseline_correct is None
    )


def test_a_reply_counts_by_key_by_text_and_in_a_gap_by_meaning(stage: Stage, items: list[Item]) -> None:
    choice = next(item for item in items if item["question_type"] == "multiple_choice")
    wrong = next(key for key in "ABCD" if key != choice["answer"])
    assert answers_rightly(as_item(choice), choice["answer"].lower() + ".")
    assert answers_rightly(as_item(choice), choice["answer_text"].upper())
    assert not answers_rightly(as_item(choice), wrong)
    gap = next(item for item in items if item["question_type"] == "fill_in_blank" and item["task"]["aspect"] == "label")
    rules = question_rules(stage.cases()[0].row)
    assert answers_rightly(as_item(gap), f" {gap['answer']}.")
    assert answers_rightly(as_item(gap), f"digit {gap['answer']}", rules)
    assert not answers_rightly(as_item(gap), "nothing")


class StubbornWriter:
    """Writes nonsense at first, and what the template writer writes on the last attempt."""

    name = fingerprint = "stubborn"

    def __init__(self, qa: QaSettings, stage: Stage, good_at: int) -> None:
        self.inner = open_writer(qa, stage.plan(qa))
        self.good_at = good_at
        self.refusals: list[str] = []

    def write(self, requests: Sequence[Request]) -> list[Draft | ItemFailed]:
        self.refusals += [request.refused for request in requests if request.attempt]
        return [
            msgspec.structs.replace(draft, question=f"{draft.question} {{x}}")
            if isinstance(draft, Draft) and request.attempt < self.good_at
            else draft
            for request, draft in zip(requests, self.inner.write(requests), strict=True)
        ]


def test_a_refused_draft_is_written_anew_and_checked_anew(stage: Stage) -> None:
    qa = QaSettings(max_repairs=2)
    writer = StubbornWriter(qa, stage, good_at=2)
    items, losses = write_questions(stage.cases()[:40], qa, writer)
    assert items
    assert {item.provenance.attempt for item in items} == {2}
    assert writer.refusals
    assert all(writer.refusals)
    hopeless, dropped = write_questions(stage.cases()[:40], qa, StubbornWriter(qa, stage, good_at=3))
    assert not hopeless
    assert {loss.reason for loss in dropped} - {loss.reason for loss in losses} == {"check_question"}


class OpinionWriter:
    """Stands for a language model: no aspect, so nothing here can be verified."""

    name = fingerprint = "opinion"

    def write(self, requests: Sequence[Request]) -> list[Draft | ItemFailed]:
        wrong = tuple(Option(text, text, "other") for text in ("a lamp", "a boat", "a door"))
        return [
            Draft(
                question_type="multiple_choice",
                question="What does the shape in the middle remind you of?",
                right=Option("a tree", "a tree", "right"),
                wrong=wrong,
                evidence="model",
                model="some-model",
            )
            for _ in requests
        ]


def test_a_models_word_is_judged_and_never_verified(stage: Stage, tmp_path: Path) -> None:
    items, losses = write_questions(stage.cases()[:5], QaSettings(), OpinionWriter())
    assert not losses
    write_jsonl(tmp_path / "written.jsonl", items)
    qa = QaSettings()
    check_shard(tmp_path / "written.jsonl", None, tmp_path / "c.jsonl", tmp_path / "r.jsonl", stage.lake, qa)
    told = [item["verification"] for item in read_jsonl(tmp_path / "c.jsonl")]
    assert {(verification["status"], verification["by"]) for verification in told} == {("judged", "some-model")}
    strict = QaSettings(keep_status=("verified",))
    report = check_shard(tmp_path / "written.jsonl", None, tmp_path / "d.jsonl", tmp_path / "s.jsonl", stage.lake, strict)
    assert (report.kept, report.dropped) == (0, {"status_judged": 5})


def test_a_stage_that_makes_hardly_any_question_fails_and_says_why() -> None:
    reports = [StageReport("a", 10, 9, {"no_balanced_form": 1}), StageReport("b", 10, 0, {"no_annotation": 10})]
    with pytest.raises(RunFailed, match=r"11 of 20 failures got no question.*10 of them for 'no_annotation'"):
        check_yield(reports, QaSettings())
    check_yield(reports, QaSettings(max_failure_rate=0.6))
    check_yield([], QaSettings())


def test_an_unknown_writer_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no writer named 'tmplate'; did you mean 'template'"):
        open_writer(QaSettings(writer={"name": "tmplate"}), plan_questions([], QaSettings()))
