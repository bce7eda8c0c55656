"""What `deployments.serve` reads of the keeper's file, and what it says of it."""

from __future__ import annotations

from pathlib import Path

import orjson

from deployments import serve
from deployments.state import ServeState
from millrace.run.journal import write_json

STATE = {
    "pid": 7,
    "folder": "/f",
    "api": "http://h/api",
    "ui": "http://h",
    "scheduler": "tcp://h",
    "dashboard": "http://h/status",
}


def test_the_keepers_file_has_the_fields_it_had_in_their_order(tmp_path: Path) -> None:
    state = ServeState(**STATE)
    state.up.append("worker")
    write_json(tmp_path / "state.json", state)
    written = orjson.loads((tmp_path / "state.json").read_bytes())
    assert list(written.items()) == [("phase", "starting"), *STATE.items(), ("up", ["worker"]), ("restarts", {})]
    state.phase, state.ending, state.trouble = "stopped", ["cancelling one"], "why"
    write_json(tmp_path / "state.json", state)
    assert serve._state(tmp_path) == state
    assert ServeState(**STATE).up == []


def test_a_keeper_that_has_written_nothing_or_only_a_part_is_not_up(tmp_path: Path) -> None:
    assert serve._state(tmp_path) is None
    for text in ("", '{"phase": "rea', '{"phase": "ready"}', "[]"):
        (tmp_path / "state.json").write_text(text)
        assert serve._state(tmp_path) is None
    assert serve._described(None) == []


def test_what_is_up_is_described_only_when_all_of_it_is(tmp_path: Path) -> None:
    state = ServeState(**STATE, restarts={"scheduler": 2})
    assert serve._described(state) == []
    state.phase = "ready"
    lines = serve._described(state)
    assert lines[0].startswith("Prefect UI      http://h ")
    assert "started again 2 times: scheduler" in lines
