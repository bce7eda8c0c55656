"""The reader and `load` put the same bytes on a GPU as torch's own reader: by pinned staging, with and without a cast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

from millrace.checkpoint import load as load_directly
from millrace.checkpoint.reader import ParallelFileSystemReader
from tests.checkpoint.saved_checkpoints import filled, load, same, save
from tests.gpu.needs_gpu import DEVICE, needs_gpu

pytestmark = needs_gpu

SHAPES = {"large": (3000, 4001), "odd": (7, 13), "empty": (0, 4), "one": ()}


@pytest.fixture
def saved(tmp_path: Path) -> dict[str, torch.Tensor]:
    state = {name: filled(*shape, dtype=torch.float32, seed=index) for index, (name, shape) in enumerate(SHAPES.items())}
    save(state, tmp_path)
    return state


def targets(state: dict[str, torch.Tensor], dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    return {name: torch.zeros(one.shape, dtype=dtype, device=DEVICE) for name, one in state.items()}


@pytest.mark.parametrize("verify", ["size", "crc"])
def test_every_tensor_arrives_on_the_gpu_bit_for_bit(saved: dict[str, torch.Tensor], tmp_path: Path, verify: Any) -> None:
    loaded = load(targets(saved), ParallelFileSystemReader(tmp_path, verify=verify))
    directly = targets(saved)
    load_directly(tmp_path, directly, verify=verify)
    for name, one in saved.items():
        assert loaded[name].device.type == DEVICE
        assert same(loaded[name].cpu(), one)
        assert same(directly[name].cpu(), one)


def test_a_cast_on_the_way_to_the_gpu_is_torchs_own(saved: dict[str, torch.Tensor], tmp_path: Path) -> None:
    loaded = load(targets(saved, torch.bfloat16), ParallelFileSystemReader(tmp_path))
    for name, one in saved.items():
        assert same(loaded[name].cpu(), one.to(torch.bfloat16))


def test_what_another_stream_computes_on_a_target_is_not_overtaken(saved: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """A target that is still being written when the load begins has the loaded values after it."""
    for _ in range(5):
        state = targets(saved)
        state["large"].normal_()
        state["large"].matmul(state["large"].T)
        load(state, ParallelFileSystemReader(tmp_path))
        assert same(state["large"].cpu(), saved["large"])


def test_stock_reads_the_same(saved: dict[str, torch.Tensor], tmp_path: Path) -> None:
    stock = load(targets(saved), dcp.FileSystemReader(tmp_path))
    ours = load(targets(saved), ParallelFileSystemReader(tmp_path))
    assert all(same(stock[name].cpu(), ours[name].cpu()) for name in saved)
