"""Questions by a chat model: kept only when others come to the same answer, and never called verified."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from PIL import Image

from millrace.errors import RunFailed
from millrace.lake.rows import LakeRow
from millrace.llm import Reply, Request
from millrace.llm.providers.scripted import ScriptedChat
from millrace.llm.run_chats import chats_of_run, close_run_chats, ledger_of_run
from millrace.qa.settings import QaSettings
from millrace.qa.writers import open_writer
from millrace.qa.writing.case import Case
from millrace.qa.writing.option_balance import make_plan
from millrace.qa.writing.write_shards import write_questions
from millrace.records.lake import ImageRef
from millrace.records.selection import Selection
from tests.fixtures.questions import as_line
from tests.llm.servers import served

Script = Callable[[Request], Reply | str]


@pytest.fixture(autouse=True)
def _closed_afterwards() -> Iterator[None]:
    yield
    close_run_chats()


def case(number: int) -> Case:
    """A failure on a photo without an annotation."""
    out = io.BytesIO()
    Image.new("RGB", (32, 32), (number, 100, 100)).save(out, "PNG")
    record = {
        "id": f"sel_{number}",
        "sample_index": number,
        "source_a": {"id": f"photo{number}", "image_path": "a.parquet", "row": number, "sha256": ""},
        "prefill": {"claim": "There are [COUNT] dogs in the picture.", "prefilled_values": {"OBJECT_TYPE": "dogs"}},
        "pipeline_type": "object_counting",
        "pipeline_name": "object_counting",
        "failure_id": "FR_OBJECT_COUNTING_CONFUSION",
        "claim_id": "counting_object_instances",
        "selectors": {},
        "answerable": True,
        "lineage": {
            "outcome_id": f"out_{number}",
            "outcome": "wrong",
            "baseline": {"values": {"COUNT": "3"}},
            "correct": {"COUNT": "2"},
            "accepted": {"COUNT": ["2"]},
            "factors": [],
            "judge": {"by": "m", "kind": "judged"},
        },
    }
    return Case(
        msgspec.convert(record, Selection),
        LakeRow(ImageRef(f"photo{number}", "a.parquet", number, ""), out.getvalue(), None, None, {}),
    )


def script(
    *, answers: str = "two dogs", blind: str = "three dogs", drafts: Callable[[Request], dict[str, Any]] | None = None
) -> Script:
    """A model that writes the same question each time, and answers with the option of that text."""

    def reply(request: Request) -> Reply | str:
        assert request.schema is not None
        words = request.messages[-1].text
        if request.schema["title"].startswith("draft"):
            assert request.messages[-1].images
            made = drafts(request) if drafts else draft()
            return orjson.dumps(made).decode()
        wanted = answers if request.messages[-1].images else blind
        key = next((line[0] for line in words.splitlines() if line[1:3] == ": " and line[3:] == wanted), "A")
        return orjson.dumps({"answer": key}).decode()

    return reply


def draft(**changed: Any) -> dict[str, Any]:
    made = {"question": "How many dogs are lying on the red sofa?", "right": "two dogs", "explanation": "One left, one right."}
    return made | {"wrong": ["three dogs", "four dogs", "one dog"]} | changed


def written(url: str, run: Path, count: int = 6, **changed: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    chat = {"model": "author", "endpoints": [{"base_url": url}], "timeout_s": 20, "give_up_after_s": 1.0}
    ratio = {"multiple_choice": 1, "fill_in_blank": 0, "yes_no": 0}
    qa = QaSettings(writer={"name": "endpoint", "chat": chat, **changed}, question_type_ratio=ratio)
    run.mkdir(exist_ok=True)
    (run / "manifest.json").write_text("{}")
    with chats_of_run(run):
        writer = open_writer(qa, make_plan({}, qa.question_type_ratio.shares(), capping=True))
    items, lost = write_questions([case(number) for number in range(count)], qa, writer)
    return [as_line(item) for item in items], [msgspec.to_builtins(record) for record in lost]


def test_a_question_that_others_answer_alike_is_kept_as_judged(tmp_path: Path) -> None:
    with served(ScriptedChat(script()), faults={"500": 0.05, "reset": 0.05}) as (_, url):
        items, lost = written(url, tmp_path / "run")
    assert not lost
    assert len(items) == 6
    for item in items:
        assert item["verification"]["status"] == "judged"
        assert "author (1 of 1 answerers agree)" in item["verification"]["by"]
        assert item["options"][item["answer"]] == "two dogs"
        assert sorted(item["options"].values()) == ["four dogs", "one dog", "three dogs", "two dogs"]
    close_run_chats()
    stages = {row.stage: row.calls for row in ledger_of_run(tmp_path / "run")}
    assert stages["write"] == 6
    assert stages["answer"] == 6


def test_a_question_that_others_answer_otherwise_is_dropped_with_the_reason(tmp_path: Path) -> None:
    with served(ScriptedChat(script(answers="four dogs"))) as (_, url):
        items, lost = written(url, tmp_path / "run")
    assert not items
    assert {record["reason"] for record in lost} == {"answer_disputed"}


def test_a_question_that_is_answered_without_the_picture_is_dropped(tmp_path: Path) -> None:
    with served(ScriptedChat(script(blind="two dogs"))) as (_, url):
        items, lost = written(url, tmp_path / "run")
        assert not items
        assert {record["reason"] for record in lost} == {"answered_blind"}
        items, lost = written(url, tmp_path / "other", blind_tries=0)
        assert len(items) == 6


def test_a_draft_that_fails_a_check_is_written_anew_with_the_reason(tmp_path: Path) -> None:
    def drafts(request: Request) -> dict[str, Any]:
        if "An earlier draft was refused" in request.messages[-1].text:
            return draft()
        return draft(question="Are there two dogs on the sofa, or how many?")

    with served(ScriptedChat(script(drafts=drafts))) as (_, url):
        items, lost = written(url, tmp_path / "run")
    assert len(items) == 6
    assert not lost
    assert {item["provenance"]["attempt"] for item in items} == {1}


def test_prose_instead_of_a_draft_costs_the_item_and_a_dead_endpoint_ends_the_stage(tmp_path: Path) -> None:
    with served(ScriptedChat(lambda request: "I like dogs.")) as (_, url):
        items, lost = written(url, tmp_path / "run")
        assert not items
        assert {record["reason"] for record in lost} == {"no_json"}
    with pytest.raises(RunFailed, match="no answer"):
        written(url, tmp_path / "run2")


def test_the_writers_settings_are_checked_like_any_other() -> None:
    qa = QaSettings(writer={"name": "endpoint", "chat": {"model": "m", "endpoint": []}})
    with pytest.raises(Exception, match="did you mean 'endpoints'"):
        open_writer(qa, make_plan({}, qa.question_type_ratio.shares(), capping=True))
