"""The command, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp

from millrace.checkpoint.reader import ParallelFileSystemReader
from tests.checkpoint.saved_checkpoints import filled, load, same, save
from tests.e2e.commands import answer, run
from tests.fixtures.running_services import Environment


@pytest.mark.flow
@pytest.mark.slow
def test_verify_on_a_cluster_finds_a_flipped_byte_and_names_its_tensor(
    tmp_path: Path, cache: Path, on_running_services: Environment
) -> None:
    path = save({f"w{index}": filled(40, 40, seed=index) for index in range(6)}, tmp_path / "ckpt", thread_count=3)
    places = ParallelFileSystemReader(path).read_metadata().storage_data
    info = next(info for index, info in places.items() if index.fqn == "w3")
    file = path / info.relative_path
    data = bytearray(file.read_bytes())
    data[info.offset + 704 + 99] ^= 1
    file.write_bytes(data)
    code, said = run("checkpoint", "verify", str(path), "--run-dir", str(tmp_path / "run"), cache=cache, **on_running_services)
    assert code == 1, said  # the run found damage; 2 would be a wrong command
    assert f"{file.name}, tensor 'w3', offset {info.offset}: CRC mismatch" in said.replace("\n", " ")
    problems = [json.loads(line) for line in (tmp_path / "run/verify/problems.jsonl").read_text().splitlines()]
    assert [problem["tensor"] for problem in problems] == ["w3"]


@pytest.mark.slow
def test_convert_writes_what_stock_reads(tmp_path: Path, cache: Path) -> None:
    path = save({"model": {"w": filled(30, 5)}, "step": 7}, tmp_path / "ckpt")
    arguments = ["--set", f"convert.to={tmp_path / 'out'}", "--set", "convert.format=dcp", "--set", "convert.shards=2"]
    arguments += ["--run-dir", str(tmp_path / "run"), "--set", "cluster=none"]
    code, said = run("checkpoint", "convert", str(path), *arguments, cache=cache)
    assert code == 0, said
    state = load({"model": {"w": torch.zeros(30, 5)}, "step": 0}, dcp.FileSystemReader(tmp_path / "out"))
    assert same(state["model"]["w"], filled(30, 5))
    assert state["step"] == 7


def test_wrong_use_is_said_in_a_sentence_before_anything_starts(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "file.pt"
    torch.save({}, file)
    for arguments, sentence in (
        (["verify"], "name the checkpoint"),
        (["read", str(tmp_path / "nowhere")], "there is no checkpoint"),
        (["verify", str(file)], "only convert takes one"),
        (["convert", str(tmp_path)], "needs a destination"),
        (["convert", str(tmp_path), "--set", f"convert.to={tmp_path}"], "exists already"),
        (["verify", str(tmp_path), "--set", "reapeats=3"], "unknown key"),
    ):
        code, said = answer("checkpoint", *arguments, "--run-dir", str(tmp_path / "run"), cache=cache)
        assert code == 2, said
        assert sentence in said.replace("\n", " ")
        assert not (tmp_path / "run").exists()
