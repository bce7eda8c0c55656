"""The second opinion: it passes what is right and refuses what was made wrong."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millrace.digits import verifiers
from millrace.digits.annotation import scene_of
from millrace.digits.scenes.scene import COLOURS, Scene, scene_to_json
from millrace.digits.verifiers import absence, intra_class_position, orientation, position, relative_position, verify
from millrace.errors import ItemFailed
from millrace.lake.rows import LakeRow
from millrace.qa.checking.question_checks import examine
from millrace.qa.items import build_item, full_question
from millrace.qa.settings import QaSettings
from millrace.qa.writers import Draft, Request, open_writer
from millrace.qa.writing.case import Case
from tests.fixtures.questions import Stage, as_item, as_line

Item = dict[str, Any]
ALLOWED = (
    "millrace.digits.verifiers",
    "millrace.digits.scenes.scene",
    "millrace.errors",
    "millrace.lake.",
    "millrace.plugins.",
    "millrace.records.",
)
"""What a verifier may use: above all nothing of `kinds`, `geometry`, `wordings` and the question stage."""

SPELLINGS = {
    "region": position.PARTS,
    "direction": relative_position.DIRECTIONS,
    "place": intra_class_position.PLACES,
    "area": {**absence.HALVES, **absence.QUARTERS},
    "turn": orientation.TURNS,
}


def rows_of(stage: Stage) -> dict[str, LakeRow]:
    return {case.id: case.row for case in stage.cases()}


def test_the_verifiers_share_no_code_with_the_generator() -> None:
    files = sorted(Path(verifiers.__file__).parent.glob("*.py"))
    assert len(files) >= 11
    for file in files:
        nodes = ast.walk(ast.parse(file.read_text()))
        imported = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        shared = {name for name in imported if name.startswith("millrace.") and not name.startswith(ALLOWED)}
        assert not shared, (file.name, shared)


def test_at_least_99_of_100_mutations_that_change_the_answer_are_refused(stage: Stage, items: list[Item]) -> None:
    rows = rows_of(stage)
    rng = random.Random(5)
    mutants = [(mutant, rows[item["lineage"]["selection_id"]]) for item in items for mutant in mutations(item, rng)]
    mutants += [*altered_annotations(stage, rng)]
    assert len(mutants) >= 1000
    passed = [item for item, row in rng.sample(mutants, 1000) if examine(as_item(item), row).failure is None]
    assert len(passed) <= 10, [(item["full_question"], item["answer"], item["mutation"]) for item in passed]


def mutations(item: Item, rng: random.Random) -> Iterator[Item]:
    """The question with its answer corrupted: another key, two options exchanged, a wrong gap, the opposite."""
    options = dict(item["options"])
    if not options:
        others = {"label": "0123456789", "count": "0123456"}.get(item["task"]["aspect"])
        vocabulary = (
            list(others)
            if others
            else [phrases[0] for phrases in SPELLINGS[item["task"]["aspect"]].values()]
            if (item["task"]["aspect"] in SPELLINGS)
            else ["up", "right", "down", "left"]
        )
        text = rng.choice([word for word in vocabulary if word != item["answer"]])
        yield item | {"answer": text, "answer_text": text, "accepted_answers": [text], "mutation": "another filling"}
        return
    for other in options.keys() - {item["answer"]}:
        moved = {"answer": other, "correct_option": other, "answer_text": options[other]}
        yield item | moved | {"mutation": "another key"}
        swapped = options | {item["answer"]: options[other], other: options[item["answer"]]}
        shown = {"options": swapped, "full_question": full_question(item["question"], swapped)}
        if item["question_type"] == "multiple_choice":
            yield item | shown | {"answer_text": swapped[item["answer"]], "mutation": "options exchanged"}


def altered_annotations(stage: Stage, rng: random.Random) -> Iterator[tuple[Item, LakeRow]]:
    """Questions written from an annotation that was tampered with, wherever that changes the question's answer."""
    qa = QaSettings()
    writer = open_writer(qa, stage.plan(qa))
    for case in stage.cases():
        [before] = writer.write([Request(case)])
        for kind in ("label", "colour", "turn", "moved", "removed"):
            scene = tampered(scene_of(case.row), kind, rng)
            if scene is None:
                continue
            row = annotated(case.row, data=scene_to_json(scene).encode())
            [after] = writer.write([Request(Case(case.record, row))])
            if isinstance(after, ItemFailed) or isinstance(before, ItemFailed):
                continue
            if (after.question, after.statement) == (before.question, before.statement) and after.right != before.right:
                yield as_line(build_item(after, Request(case), 1, qa, "x")) | {"mutation": kind}, row


def annotated(row: LakeRow, **changed: Any) -> LakeRow:
    """The row with something else in its annotation."""
    assert row.annotation is not None
    return msgspec.structs.replace(row, annotation=msgspec.structs.replace(row.annotation, **changed))


def tampered(scene: Scene, kind: str, rng: random.Random) -> Scene | None:
    if not scene.digits:
        return None
    at = rng.randrange(len(scene.digits))
    digit = scene.digits[at]
    x0, y0, x1, y1 = digit.box
    dx, dy = rng.randint(-x0, scene.width - x1), rng.randint(-y0, scene.height - y1)
    changed = {
        "label": {"label": (digit.label + rng.randint(1, 9)) % 10},
        "colour": {"colour": rng.choice([name for name in COLOURS if name != digit.colour])},
        "turn": {"turn": (digit.turn + rng.randint(1, 3)) % 4},
        "moved": {"box": (x0 + dx, y0 + dy, x1 + dx, y1 + dy)},
        "removed": {},
    }[kind]
    digits = list(scene.digits)
    digits[at : at + 1] = [] if kind == "removed" else [msgspec.structs.replace(digit, **changed)]
    return msgspec.structs.replace(scene, digits=tuple(digits))


def test_a_second_right_option_is_refused(stage: Stage, items: list[Item]) -> None:
    rows = rows_of(stage)
    others = {"top left": "upper left", "top right": "upper right", "bottom left": "lower left", "centre": "center"}
    places = [item for item in items if item["answer_text"] in others and item["task"]["aspect"] == "region" and item["options"]]
    assert places
    for item in places:
        key = next(key for key in item["options"] if key != item["answer"])
        options = item["options"] | {key: others[item["answer_text"]]}
        finding = verify(as_item(item | {"options": options}), rows[item["lineage"]["selection_id"]])
        assert (finding.status, finding.reason) == ("refuted", "second_answer")


def test_a_question_about_another_subject_than_recorded_is_refused(stage: Stage, items: list[Item]) -> None:
    rows = rows_of(stage)
    item = next(item for item in items if "colour" in item["task"]["selectors"].get("TARGET_OBJECT", {}))
    colour = item["task"]["selectors"]["TARGET_OBJECT"]["colour"]
    other = next(name for name in COLOURS if name != colour)
    told = item | {"question": item["question"].replace(colour, other)}
    assert verify(as_item(told), rows[item["lineage"]["selection_id"]]).reason == "other_subject"


def test_an_option_that_is_no_answer_is_refused(stage: Stage, items: list[Item]) -> None:
    item = next(item for item in items if item["task"]["aspect"] == "direction" and item["question_type"] == "multiple_choice")
    key = next(key for key in item["options"] if key != item["answer"])
    told = item | {"options": item["options"] | {key: "somewhere else"}}
    assert verify(as_item(told), rows_of(stage)[item["lineage"]["selection_id"]]).reason == "unreadable_option"


@pytest.mark.parametrize("missing", ["second_view", "annotation"])
def test_without_a_second_view_nothing_is_called_verified(stage: Stage, items: list[Item], missing: str) -> None:
    whole = rows_of(stage)[items[0]["lineage"]["selection_id"]]
    row = annotated(whole, second_view=None) if missing == "second_view" else msgspec.structs.replace(whole, annotation=None)
    assert verify(as_item(items[0]), row).status == "unable"
    assert (
        examine(as_item(items[0] | {"verification": {"status": "unverified", "by": None, "checks": []}}), row).status
        == "unverified"
    )


def view_of(row: LakeRow) -> bytes | None:
    assert row.annotation is not None
    return row.annotation.second_view


def test_another_picture_under_the_same_annotation_is_refused(stage: Stage, items: list[Item]) -> None:
    rows = rows_of(stage)
    own = rows[items[0]["lineage"]["selection_id"]]
    others = [row for row in rows.values() if row.ref.image_id != own.ref.image_id][:20]
    findings = [verify(as_item(items[0]), annotated(own, second_view=view_of(other))) for other in others]
    assert all(finding.status == "refuted" for finding in findings)


def test_a_draft_with_a_wrong_answer_never_reaches_the_written_shard(stage: Stage) -> None:
    """The repair loop can't be fooled either: what it keeps has gone through the verifier."""
    qa = QaSettings(max_repairs=1)
    inner = open_writer(qa, stage.plan(qa))

    class Liar:
        name = fingerprint = "liar"

        def write(self, requests: list[Request]) -> list[Draft | ItemFailed]:
            drafts = inner.write(requests)
            return [
                msgspec.structs.replace(draft, right=draft.wrong[0], wrong=(draft.right, *draft.wrong[1:]))
                if isinstance(draft, Draft) and draft.question_type == "multiple_choice"
                else draft
                for draft in drafts
            ]

    from millrace.qa.writing.write_shards import write_questions

    items, _ = write_questions(stage.cases()[:60], qa, Liar())  # type: ignore[arg-type]
    assert "multiple_choice" not in {item.question_type for item in items}
