"""Trainings on the GPU: a shipped workload learns there, its share of the memory is a limit, NVML is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from millrace.plugins.loading import load_plugin
from millrace.training.meter import SOURCES
from millrace.training.settings import EnergySettings
from tests.gpu.needs_gpu import DEVICE, needs_gpu, only_gpu
from tests.training.test_workloads import SMALL, events, train

pytestmark = [needs_gpu, pytest.mark.timeout(280)]


def test_a_workload_learns_on_the_gpu(tmp_path: Path) -> None:
    done = train("mnist_cnn", tmp_path, "--device", DEVICE, values=SMALL | {"epochs": 4})
    assert done.returncode == 0, done.stderr
    epochs = [event for event in events(tmp_path) if event["event"] == "epoch"]
    assert len(epochs) == 4
    assert epochs[-1]["loss"] < epochs[0]["loss"]


def test_the_same_seed_gives_nearly_the_same_losses_on_both_devices(tmp_path: Path) -> None:
    losses = {}
    for device in dict.fromkeys(("cpu", DEVICE)):
        done = train("mnist_cnn", tmp_path / device, "--device", device, values=SMALL)
        assert done.returncode == 0, done.stderr
        losses[device] = next(event["loss"] for event in events(tmp_path / device) if event["event"] == "epoch")
    assert losses[DEVICE] == pytest.approx(losses["cpu"], rel=0.05)


@only_gpu
def test_a_share_of_the_gpus_memory_is_a_limit(tmp_path: Path) -> None:
    done = train("mnist_cnn", tmp_path, "--device", "cuda", "--gpu-memory-fraction", "0.0001", values=SMALL)
    assert done.returncode != 0
    assert "memory" in (done.stderr + str(events(tmp_path))).lower()


@only_gpu
def test_the_energy_of_the_gpu_is_read_and_only_grows() -> None:
    source = load_plugin(SOURCES, "nvml", "energy source").open_source(EnergySettings())
    first = source.read()
    square = torch.randn(4096, 4096, device="cuda")
    for _ in range(50):
        square = (square @ square).clamp(-1, 1)
    torch.cuda.synchronize()
    second = source.read()
    assert first.keys() == second.keys()
    assert all(None not in (first[name], second[name]) for name in first)
    assert sum(second.values()) > sum(first.values())
