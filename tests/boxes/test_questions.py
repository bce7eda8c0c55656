"""Questions about the shipped photographs: verified, of six pipelines, and any corrupted one is refused."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millrace.boxes import verifiers
from millrace.boxes.annotation import picture_of
from millrace.boxes.from_coco import rows_of
from millrace.boxes.geometry import references
from millrace.boxes.kinds import claim_kinds
from millrace.boxes.question_rules import readings, wordings
from millrace.config import read_mapping
from millrace.errors import ItemFailed
from millrace.filtering.routing import load_routes
from millrace.filtering.selection_shards import selection_record
from millrace.lake.annotations import Annotation
from millrace.lake.parquet import LakeRow, stream_rows
from millrace.probing.baselines import baseline_settings, open_baseline
from millrace.probing.claims import load_claims
from millrace.probing.judges import judge_settings, open_judge
from millrace.probing.ranks.probe_unit import Probe, probe_row
from millrace.qa.checking.check_shards import check_shard
from millrace.qa.checking.question_checks import examine
from millrace.qa.items import full_question
from millrace.qa.settings import QaSettings
from millrace.qa.writing.wordings import BLANK
from millrace.qa.writing.write_shards import plan_questions, survey_shard, write_shard
from millrace.records import question
from millrace.records.outcome import OutcomeRecord
from millrace.run.journal import read_jsonl, write_jsonl
from tests.fixtures.questions import as_item

ROOT = Path(__file__).parents[2]
PHOTOGRAPHS = ROOT / "configs" / "full" / "photographs"
Item = dict[str, Any]


def rows() -> list[LakeRow]:
    return [row for row in stream_rows(PHOTOGRAPHS / "lake-00000.parquet") if isinstance(row, LakeRow)]


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    """What the question stage accepts of what a guesser gets wrong, in six rounds."""
    folder = tmp_path_factory.mktemp("photographs")
    routes = load_routes("default")
    failures: list[OutcomeRecord] = []
    for seed in range(6):
        guesser = open_baseline(baseline_settings({"name": "guess", "seed": seed}))
        probe = Probe(load_claims("objects"), guesser, open_judge(judge_settings({})), PHOTOGRAPHS, seed, 0.15)
        records = [record for row in rows() for record in probe_row(probe, row)]
        assert {record.judge.kind for record in records if isinstance(record, OutcomeRecord) and record.judge} == {"verified"}
        failures += [record for record in records if isinstance(record, OutcomeRecord) and record.failure_id]
    selection, written = folder / "selection.jsonl", folder / "written.jsonl"
    write_jsonl(selection, [selection_record(one, sample_index=at, routes=routes) for at, one in enumerate(failures)])
    qa = QaSettings(blind_check="report", items_per_failure=2)
    plan = plan_questions([survey_shard(selection, PHOTOGRAPHS, qa)], qa)
    write_shard(selection, written, PHOTOGRAPHS, qa, plan)
    check_shard(written, None, folder / "checked.jsonl", folder / "rejected.jsonl", PHOTOGRAPHS, qa)
    refused = [record for record in read_jsonl(folder / "rejected.jsonl") if record["reason"].startswith("check_")]
    assert not refused, refused[0]
    return list(read_jsonl(folder / "checked.jsonl"))


def test_the_photographs_give_verified_questions_of_six_pipelines(items: list[Item]) -> None:
    assert len(items) >= 150
    assert {item["verification"]["status"] for item in items} == {"verified"}
    assert {item["verification"]["by"] for item in items} == {verifiers.BY}
    assert {item["pipeline_name"] for item in items} == {kind.PIPELINE for kind in claim_kinds().values()}
    assert {item["question_type"] for item in items} == {"multiple_choice", "yes_no", "fill_in_blank"}


def test_the_shipped_lake_is_what_its_annotations_and_photographs_give() -> None:
    told = read_mapping(PHOTOGRAPHS / "annotations.json")
    made = rows_of(told, PHOTOGRAPHS)
    assert [(row.ref.image_id, row.image_bytes) for row in rows()] == [(row["image_id"], row["jpg"]) for row in made]
    licences = {licence["id"] for licence in told["licenses"]}
    assert all(image["license"] in licences and image["source"] for image in told["images"])


def test_the_verifiers_share_no_code_with_what_writes() -> None:
    for path in Path(verifiers.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("millrace."):
                allowed = (
                    "millrace.boxes.verifiers",
                    "millrace.errors",
                    "millrace.lake",
                    "millrace.plugins.loading",
                    "millrace.records",
                )
                assert str(node.module).startswith(allowed), f"{path.name} imports {node.module}"


def row_of(item: Item) -> LakeRow:
    return rows()[item["image"]["row"]]


def test_every_corrupted_answer_is_refused(items: list[Item]) -> None:
    mutants = [mutant for item in items for mutant in corrupted(item)]
    assert len(mutants) > 300
    by_row = rows()
    passed = [mutant for mutant in mutants if examine(as_item(mutant), by_row[mutant["image"]["row"]]).failure is None]
    assert not passed, (passed[0]["full_question"], passed[0]["answer"])


def corrupted(item: Item) -> Iterator[Item]:
    options = dict(item["options"])
    if not options:
        wrong = "7" if item["task"]["aspect"] == "count" else "top left" if item["answer"] != "top left" else "bottom right"
        wrong = {"direction": "left of" if item["answer"] != "left of" else "below"}.get(item["task"]["aspect"], wrong)
        yield item | {"answer": wrong, "answer_text": wrong, "accepted_answers": [wrong]}
        return
    for other in options.keys() - {item["answer"]}:
        yield item | {"answer": other, "correct_option": other, "answer_text": options[other]}
        swapped = options | {item["answer"]: options[other], other: options[item["answer"]]}
        if item["question_type"] == "multiple_choice":
            shown = full_question(item["question"], swapped)
            yield item | {"options": swapped, "full_question": shown, "answer_text": swapped[item["answer"]]}


def test_a_question_whose_boxes_were_taken_away_is_refused(items: list[Item]) -> None:
    refused = asked = 0
    for item in items:
        row = row_of(item)
        assert row.annotation is not None
        told = msgspec.json.decode(row.annotation.data)
        label = next(iter(item["task"]["selectors"].values()))["label"]
        changes = item["question_type"] == "multiple_choice" or item["answer"] == "A" or item["task"]["aspect"] != "count"
        there = any(one["label"] == label for one in told["things"])
        if item["task"]["aspect"] not in ("count", "presence of kind") or not there or not changes:
            continue  # "are there 4?" is answered by no before and after
        gone = [one for one in told["things"] if one["label"] != label]
        changed = msgspec.json.encode({**told, "things": gone, "absent": [*told["absent"], label]})
        without = msgspec.structs.replace(row, annotation=Annotation("boxes", changed))
        asked += 1
        refused += examine(item, without).failure is not None
    assert asked >= 20
    assert refused == asked


def test_a_question_about_another_subject_than_recorded_is_refused(items: list[Item]) -> None:
    asked = 0
    for item in items:
        label = next((one["label"] for one in item["task"]["selectors"].values()), "")
        if item["task"]["aspect"] == "label shown" or label not in item["question"]:
            continue
        told = item["question"].replace(label, "umbrella")
        finding = verifiers.verify(as_item(item | {"question": told}), row_of(item))
        assert (finding.status, finding.reason) == ("refuted", "other_subject"), told
        asked += 1
    assert asked > 100


def test_what_is_written_is_what_the_verifier_reads_in_every_wording() -> None:
    """Every template of every aspect, filled with a subject whose label holds numbers and directions."""
    words = wordings("en")
    assert words is not None
    selector = {"label": "2 euro coin left of centre", "attributes": {"colour": "red"}}
    said = words.words({"TARGET_OBJECT": selector, "OBJECT_B": {"label": "top drawer"}}, random.Random(1))
    checks = verifiers._checks()
    stated = {
        "count": "5",
        "region": "top left",
        "direction": "above",
        "percent": "8%",
        "presence of kind": "no",
        "area": "top left",
    }
    for aspect, value in stated.items():
        for template in words.templates(aspect, "yes_no"):
            question = words.say(template, said, words.name(aspect, value))
            subjects = {"TARGET_OBJECT": selector, "OBJECT_B": {"label": "top drawer"}} if "{b}" in template else {"T": selector}
            read = (checks[aspect].state or checks[aspect].read)(verifiers.without_subject(question, subjects))
            assert read == value.rstrip("%"), question
            assert verifiers.names_subject(question, subjects, {selector["label"]}), question
        for form in ("multiple_choice", "yes_no", "fill_in_blank"):
            templates = words.templates(aspect, form)
            assert len(set(templates)) == len(templates)
            assert all(template.count(BLANK) == (form == "fill_in_blank") for template in templates)
    assert wordings("zh") is None


def test_every_right_value_that_is_offered_is_verified_and_every_wrong_one_refuted() -> None:
    for row in rows():
        for kind in claim_kinds().values():
            if set(kind.SUBJECT) == {"OBJECT_A", "OBJECT_B"}:
                continue
            (slot,) = kind.SUBJECT
            for selector in references(picture_of(row).boxes):
                selectors = {slot: selector}
                try:
                    offered = readings(kind.PIPELINE, row, selectors)
                except ItemFailed:  # nothing clear to ask
                    continue
                for reading in offered:
                    evidence = verifiers.draw(row)
                    holds = verifiers._checks()[reading.aspect].holds
                    value = [holds(evidence, selectors, one.rstrip("%").casefold()) for one in reading.right]
                    wrong = [holds(evidence, selectors, one.rstrip("%").casefold()) for one in reading.wrong]
                    assert None not in (*value, *wrong) or kind.PIPELINE == "object_proportion", (selectors, reading)
                    assert False not in value
                    assert True not in wrong


def test_a_question_is_examined_once_and_again_only_when_something_about_it_changed(
    tmp_path: Path, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    from millrace.qa.checking import check_shards
    from millrace.qa.checking.question_checks import Examination, proof_of
    from millrace.qa.writing.write_shards import examined_path

    written, at = tmp_path / "written.jsonl", rows()
    bare = [{**item, "verification": {"status": "unverified", "by": None, "checks": []}} for item in items[:20]]
    pairs = [(as_item(item), at[item["image"]["row"]]) for item in bare]
    examined = [(proof_of(item, row), examine(item, row)) for item, row in pairs]
    write_jsonl(written, bare)
    write_jsonl(examined_path(written), (found.record(proof) for proof, found in examined))
    asked: list[str] = []

    def counted(item: question.Item, row: LakeRow) -> Examination:
        asked.append(item.id)
        return examine(item, row)

    monkeypatch.setattr(check_shards, "examine", counted)
    check_shard(written, None, tmp_path / "one.jsonl", tmp_path / "rejected.jsonl", PHOTOGRAPHS, QaSettings())
    assert asked == []
    told = bare[0]
    wrong = next((key for key in told["options"] if key != told["answer"]), None)
    changed = {**told, "answer": wrong, "correct_option": wrong} if wrong else {**told, "answer": "999"}
    write_jsonl(written, [changed, *bare[1:]])
    report = check_shard(written, None, tmp_path / "two.jsonl", tmp_path / "rejected2.jsonl", PHOTOGRAPHS, QaSettings())
    assert asked == [told["id"]]
    assert (report.seen, report.kept) == (20, 19)
