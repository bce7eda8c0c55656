"""`compare`: the readers in turn on one checkpoint; the benchmark's peers load what they are timed on."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from millrace.checkpoint.compare import compare_readers, table
from millrace.checkpoint.formats.safetensors_format import build_header
from tests.benchmarks.checkpoint_peers import peers
from tests.checkpoint.saved_checkpoints import filled, same, save

STATE = {"a": filled(300, 40), "b": filled(7, dtype=torch.bfloat16, seed=1), "c": filled(2, 3, 4, dtype=torch.int16, seed=2)}


def write_safetensors(path: Path, state: dict[str, torch.Tensor]) -> Path:
    """Without the format's library, which this project does not need."""
    header = build_header({name: (one.dtype, tuple(one.shape)) for name, one in state.items()}, {})
    path.write_bytes(header + b"".join(one.contiguous().view(-1).view(torch.uint8).numpy().tobytes() for one in state.values()))
    return path


def test_a_checkpoint_is_compared_with_stock_and_every_turn_is_told(tmp_path: Path) -> None:
    turns: list[int] = []
    rows = compare_readers(save(STATE, tmp_path), threads=2, repeats=3, on_turn=lambda: turns.append(1))
    assert [row.reader for row in rows] == ["stock", "ParallelFileSystemReader"]
    assert rows[0].times_stock == 1.0
    assert all(len(row.all) == 3 and row.seconds > 0 for row in rows)
    assert len(turns) == 2 * (1 + 3)  # once each for the page cache
    assert "ParallelFileSystemReader" in "\n".join(table(rows))


def test_a_safetensors_folder_is_compared_with_torchs_reader_of_its_format_where_that_can_run(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", STATE)
    rows = compare_readers(tmp_path, threads=1, repeats=1, on_turn=lambda: None)
    stock = ["stock"] if importlib.util.find_spec("safetensors") is not None else []
    assert [row.reader for row in rows] == [*stock, "ParallelFileSystemReader"]


def test_the_benchmark_finds_the_peers_that_are_installed_and_no_other(tmp_path: Path) -> None:
    found = set(peers([write_safetensors(tmp_path / "model.safetensors", STATE)], STATE, 1))
    for package, name in (
        ("safetensors", "safetensors load_file + copy"),
        ("runai_model_streamer", "Run:ai model streamer + copy"),
        ("fastsafetensors", "fastsafetensors + copy"),
    ):
        assert (name in found) == (importlib.util.find_spec(package) is not None)


@pytest.mark.parametrize("package", ["safetensors", "runai_model_streamer", "fastsafetensors"])
def test_a_peer_loads_the_very_tensors_it_is_timed_on(tmp_path: Path, package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"the peer {package} is not installed")
    files = [write_safetensors(tmp_path / f"{name}.safetensors", {name: one}) for name, one in STATE.items()]
    for name, load in peers(files, state := {name: torch.zeros_like(one) for name, one in STATE.items()}, 1).items():
        for one in state.values():
            one.zero_()
        load()
        assert all(same(state[key], one) for key, one in STATE.items()), name
