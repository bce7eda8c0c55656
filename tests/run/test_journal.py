"""Journals and atomic files: what a kill at any moment leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import RunFailed
from millrace.run import journal as journal_module
from millrace.run.journal import Journal, read_jsonl, whole_lines, write_atomic, write_json, write_jsonl


def test_a_finished_shard_has_its_final_name_and_no_part(tmp_path: Path) -> None:
    with Journal(tmp_path / "shard.jsonl") as journal:
        journal.append({"id": "a"}, {"id": "b"})
        assert not journal.done
        journal.finish()
    assert [record["id"] for record in read_jsonl(tmp_path / "shard.jsonl")] == ["a", "b"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["shard.jsonl"]


def test_a_record_with_a_known_id_is_not_written_twice_also_after_reopening(tmp_path: Path) -> None:
    for _ in range(2):
        with Journal(tmp_path / "shard.jsonl") as journal:
            journal.append({"id": "a", "n": 1})
            journal.append({"id": "a", "n": 2})
    with Journal(tmp_path / "shard.jsonl") as journal:
        assert journal.records() == [{"id": "a", "n": 1}]


@given(cut=st.integers(min_value=0, max_value=200))
def test_a_journal_cut_at_any_byte_keeps_all_whole_records(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "shard.jsonl"
    records = [{"id": f"r{n}", "text": "ä" * n} for n in range(6)]
    with Journal(path) as journal:
        journal.append(*records)
    whole = path.with_name("shard.jsonl.part")
    data = whole.read_bytes()[:cut]
    whole.write_bytes(data)
    with Journal(path) as journal:
        kept = journal.records()
        assert kept == records[: data.count(b"\n")]
        journal.append(*records)
        assert journal.records() == records


class Numbered(msgspec.Struct):
    id: str
    n: int


def test_finishing_in_an_order_sorts_the_shard(tmp_path: Path) -> None:
    with Journal(tmp_path / "shard.jsonl") as journal:
        journal.append(Numbered(id="b", n=2), Numbered(id="a", n=1))
        journal.finish_sorted(Numbered, lambda record: (record.n,))
    assert [record["n"] for record in read_jsonl(tmp_path / "shard.jsonl")] == [1, 2]


def test_a_second_writer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "LOCK_WAIT_S", 0.2)
    with (
        Journal(tmp_path / "shard.jsonl") as first,
        pytest.raises(RunFailed, match="another process"),
        Journal(tmp_path / "shard.jsonl"),
    ):
        first.append({"id": "never"})


def test_records_survive_a_sigkill_of_the_writer(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, time; from millrace.run.journal import Journal\n"
        "with Journal(pathlib.Path(sys.argv[1])) as journal:\n"
        "    for n in range(1000):\n        journal.append({'id': str(n)})\n"
        "    print('ready', flush=True); time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "s.jsonl")], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with Journal(tmp_path / "s.jsonl") as journal:
        assert len(journal.ids) == 1000


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text('{"id": 1}\n{"id":\n{"id": 3}\n')
    with pytest.raises(RunFailed, match=r"s\.jsonl, line 2"):
        list(read_jsonl(tmp_path / "s.jsonl"))


@given(st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")), max_size=5), st.binary(max_size=5))
def test_whole_lines_ends_after_the_last_newline(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], tail: bytes
) -> None:
    path = tmp_path_factory.mktemp("lines") / "f"
    whole = b"".join(line + b"\n" for line in lines)
    path.write_bytes(whole + tail.replace(b"\n", b""))
    assert whole_lines(path) == len(whole)


def test_an_atomic_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_atomic(path, "old")
    with pytest.raises(TypeError):
        write_json(path, {"x": object()})
    with pytest.raises(ZeroDivisionError):
        write_jsonl(path, ({"n": 1 // n} for n in (1, 0)))
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file.json"]
