"""What makes a finished stage unfinished again, and what goes with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import Field

from millrace.config import OPERATIONAL, Settings
from millrace.errors import UsageError
from millrace.records.summaries import StageSummary
from millrace.run.context import RunContext
from millrace.run.folder import RunFolder, finished_state, stored_config
from millrace.run.journal import reopen_journal, write_json
from millrace.run.reopening import take_up
from millrace.run.stage import Stage


class Config(Settings):
    seed: int = 1
    room: int = Field(default=1, json_schema_extra=OPERATIONAL)


@dataclass(frozen=True)
class Asking(Stage):
    """Outdated when it has been given more room."""

    config: Config
    name = "asking"
    feeds = ("choosing",)

    def outdated(self, run_dir: Path) -> bool:
        before = stored_config(run_dir, self.name)
        return before is not None and before["room"] < self.config.room

    def reopen(self, folder: Path) -> None:
        (folder / "shard").unlink(missing_ok=True)

    def run(self, run: RunContext, folder: Path) -> StageSummary:
        raise NotImplementedError


@dataclass(frozen=True)
class Choosing(Stage):
    config: Config
    name = "choosing"

    def run(self, run: RunContext, folder: Path) -> StageSummary:
        raise NotImplementedError


def stages(**changed: Any) -> list[Stage]:
    return [Asking(Config(**changed)), Choosing(Config())]


def sections(**changed: Any) -> dict[str, Settings]:
    return {"asking": Config(**changed), "choosing": Config()}


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    with RunFolder.open(run, sections()) as folder:
        for name in ("asking", "choosing"):
            write_json(folder.stage(name) / "summary.json", {})
            (folder.stage(name) / "shard").write_text("done")
            folder.finish(name, "finished")
        folder.finish("both", "finished")
    return run


def test_a_stage_that_is_not_outdated_leaves_the_folder_untouched(finished: Path) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    take_up(stages(), finished)
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_an_outdated_stage_its_flow_and_what_was_made_of_it_are_unfinished(finished: Path) -> None:
    take_up(stages(room=2), finished)
    for name in ("asking", "choosing", "both"):
        assert finished_state(finished, name, sections(room=2)) is None
    assert not (finished / "asking" / "summary.json").exists()
    assert not (finished / "asking" / "shard").exists()
    assert not (finished / "choosing").exists()


def test_after_a_kill_in_the_middle_of_it_the_next_start_takes_back_the_rest(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Asking, "reopen", lambda self, folder: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        take_up(stages(room=2), finished)
    monkeypatch.undo()
    take_up(stages(room=2), finished)
    assert not (finished / "asking" / "shard").exists()


def test_another_config_is_refused_before_anything_is_taken_back(finished: Path) -> None:
    with pytest.raises(UsageError, match=r"asking\.seed"):
        take_up(stages(room=2, seed=2), finished)
    assert (finished / "asking" / "summary.json").exists()
    assert (finished / "choosing" / "shard").exists()
    assert finished_state(finished, "both", {}) == "finished"


class Numbered(msgspec.Struct):
    id: str
    n: int


def test_a_journal_is_reopened_without_the_records_to_redo_and_only_if_there_are_any(tmp_path: Path) -> None:
    path = tmp_path / "shard-00000.jsonl"
    lines = b'{"id":"a","n":1,"of":"a later version"}\n{"id":"b","n":2}\n'
    path.write_bytes(lines)
    assert not reopen_journal(path, Numbered, lambda record: record.n > 2)
    assert path.read_bytes() == lines
    assert reopen_journal(path, Numbered, lambda record: record.n > 1)
    assert not path.exists()
    assert path.with_name("shard-00000.jsonl.part").read_bytes() == lines.splitlines(keepends=True)[0]
