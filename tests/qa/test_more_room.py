"""More room for a writer, its answerers or the baseline: only the shards in which something broke off are done again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from millrace.probing.settings import ProbingConfig
from millrace.probing.stage import AskBaseline
from millrace.qa.settings import QaSettings
from millrace.qa.stage import WriteQuestions
from millrace.run.journal import read_jsonl, write_json, write_jsonl

LINES = Path(__file__).parents[1] / "records" / "lines"
STEPS = ("written", "written/dropped", "written/examined", "asked", "checked", "rejected")


def chat(**changed: Any) -> dict[str, Any]:
    return {"model": "m", "endpoints": [{"base_url": "http://127.0.0.1:9/v1"}], **changed}


def writer(answerers: int = 1, **changed: Any) -> QaSettings:
    others = [chat(model=f"answerer{number}") for number in range(answerers)]
    return QaSettings(writer={"name": "endpoint", "chat": chat(), "answerers": others, **changed})


def probing(**changed: Any) -> ProbingConfig:
    return ProbingConfig(baseline={"name": "endpoint", "chat": chat(**changed)})


def item(agree: str = "1 of 1") -> dict[str, Any]:
    line: dict[str, Any] = next(read_jsonl(LINES / "qa.jsonl"))
    return line | {"id": "q", "verification": {"status": "judged", "by": f"m ({agree} answerers agree)", "checks": []}}


def dropped(reason: str) -> dict[str, Any]:
    line: dict[str, Any] = next(read_jsonl(LINES / "dropped_question.jsonl"))
    return line | {"reason": reason, "detail": ""}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three shards: of a whole one, and two to be spoilt."""
    for number in range(3):
        for step in STEPS:
            path = tmp_path / "qa" / step / f"shard-{number:05d}.jsonl"
            lines = {"written": [item()], "asked": [{"id": "q", "answers": ["A"]}]}.get(step, [])
            write_jsonl(path, lines)
    keep(tmp_path)
    return tmp_path


def keep(run: Path, **changed: Any) -> None:
    sections = {"qa": writer(**changed), "probing": probing()}
    write_json(run / "config.json", {name: config.model_dump(mode="json") for name, config in sections.items()})


def left(run: Path) -> dict[str, list[int]]:
    folders = {step: sorted((run / "qa" / step).glob("shard-*")) for step in STEPS}
    return {step: [int(path.stem[-5:]) for path in paths] for step, paths in folders.items()}


@pytest.mark.parametrize("reason", ["cut_off", "not_answered"])
def test_a_draft_that_broke_off_has_its_shard_written_anew_when_there_is_more_room(run: Path, reason: str) -> None:
    write_jsonl(run / "qa" / "written" / "dropped" / "shard-00001.jsonl", [dropped(reason)])
    write_jsonl(run / "qa" / "written" / "dropped" / "shard-00002.jsonl", [dropped("answered_blind")])
    assert not WriteQuestions(writer(), AskBaseline()).outdated(run), "no limit is higher"
    assert not WriteQuestions(writer(max_tokens=100), AskBaseline()).outdated(run), "a limit is lower"
    stage = WriteQuestions(writer(max_tokens=1000), AskBaseline())
    assert stage.outdated(run)
    stage.reopen(run / "qa")
    assert left(run) == {step: [0, 2] for step in STEPS}
    assert not stage.outdated(run)


def test_an_answerer_that_gave_no_answer_is_asked_again_when_there_is_more_room(run: Path) -> None:
    keep(run, answerers=2)
    write_jsonl(
        run / "qa" / "written" / "shard-00000.jsonl",
        [item("2 of 2"), item() | {"id": "t", "verification": {"status": "unverified", "by": None, "checks": []}}],
    )
    write_jsonl(run / "qa" / "written" / "shard-00001.jsonl", [item("2 of 2")])
    disputed = dropped("x") | {"reason": "answer_disputed", "detail": "0 of 1 answerers agree with 'two dogs'"}
    write_jsonl(run / "qa" / "written" / "dropped" / "shard-00001.jsonl", [disputed])
    WriteQuestions(writer(answerers=2, max_tokens=1000), AskBaseline()).reopen(run / "qa")
    assert left(run)["written"] == [0], "in shard 1 a dispute, in shard 2 an agreement was between fewer than there are"


def test_an_answer_of_the_baseline_that_broke_off_is_asked_for_again_and_the_question_stays(run: Path) -> None:
    write_jsonl(run / "qa" / "asked" / "shard-00002.jsonl", [{"id": "q", "answers": [], "error": "CutOff: cut_off: ends"}])
    write_jsonl(run / "qa" / "asked" / "shard-00001.jsonl", [{"id": "q", "answers": [], "error": "Filtered: filtered: no"}])
    assert not WriteQuestions(writer(), AskBaseline(probing())).outdated(run)
    stage = WriteQuestions(writer(), AskBaseline(probing(longest_answer=50_000)))
    assert stage.outdated(run)
    stage.reopen(run / "qa")
    assert left(run) == {step: [0, 1] if step in {"asked", "checked", "rejected"} else [0, 1, 2] for step in STEPS}


def test_a_folder_without_questions_and_one_of_another_writer_are_left_alone(run: Path, tmp_path: Path) -> None:
    assert not WriteQuestions(writer(max_tokens=1000), AskBaseline(probing())).outdated(tmp_path / "empty")
    template = QaSettings()
    assert not WriteQuestions(template, AskBaseline(probing())).outdated(run)
