"""What each of four gloo ranks does with `fully_shard` models, as users save and load them; a part of `ranks_program`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from millrace.checkpoint.reader import ParallelFileSystemReader


class Training:
    """A model that no number of ranks divides evenly, with its optimizer after one step; a Stateful, as torch calls it."""

    def __init__(self, mesh: DeviceMesh, seed: int) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(13, 7), nn.BatchNorm1d(7), nn.Linear(7, 5, bias=False))
        for layer in self.model:
            fully_shard(layer, mesh=mesh)
        fully_shard(self.model, mesh=mesh)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01 * seed)
        for parameter in self.model.parameters():
            parameter.grad = parameter.detach() * 0.5 + seed
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        model, optimizer = get_state_dict(self.model, self.optimizer)
        return {"model": model, "optimizer": optimizer}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        set_state_dict(self.model, self.optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything that was learned, whole, on every rank."""
        found: dict[str, torch.Tensor] = dict(self.model.state_dict())
        for number, state in enumerate(self.optimizer.state_dict()["state"].values()):
            found |= {f"{number}.{name}": one for name, one in state.items()}
        return {name: one.full_tensor() if hasattr(one, "full_tensor") else one for name, one in found.items()}


def equal(left: Training, right: Training) -> bool:
    ours, theirs = left.tensors(), right.tensors()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def check_fully_sharded_models(folder: Path, flat: DeviceMesh, square: DeviceMesh) -> int:
    """Save FSDP, HSDP and asynchronously; load each on FSDP and HSDP with this reader and with torch's. Returns the loads."""
    loads = 0
    for name, mesh in (("fsdp", flat), ("hsdp", square), ("async", flat)):
        saved = Training(mesh, seed=3)
        place = folder / name
        if name == "async":
            dcp.async_save({"training": saved}, storage_writer=dcp.FileSystemWriter(place, sync_files=False)).result()
            dist.barrier()
        else:
            dcp.save({"training": saved}, storage_writer=dcp.FileSystemWriter(place, sync_files=False))
        for target in (flat, square):
            ours, stock = Training(target, seed=1), Training(target, seed=2)
            reader = ParallelFileSystemReader(place, verify="crc")
            dcp.load({"training": ours}, storage_reader=reader)
            dcp.load({"training": stock}, storage_reader=dcp.FileSystemReader(place))
            assert equal(ours, saved), f"{name}: what was loaded is not what was saved"
            assert equal(ours, stock), f"{name}: torch's reader loads something else"
            assert ours.optimizer.param_groups[0]["lr"] == saved.optimizer.param_groups[0]["lr"]
            assert reader.metrics.stock_items == 0, reader.metrics.stock_reasons
            loads += 1
    # The replicas of HSDP were saved once.
    places = ParallelFileSystemReader(folder / "hsdp").read_metadata()
    chunks = sum(len(getattr(one, "chunks", "1")) for one in places.state_dict_metadata.values())
    assert len(places.storage_data) == chunks
    return loads
