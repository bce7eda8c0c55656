"""What each of four gloo ranks does in `test_ranks.py`: saves and loads in groups of 1, 2 and 4, all sharding plans random.

python -m torch.distributed.run --nproc-per-node 4 tests/checkpoint/ranks_program.py FOLDER
"""

from __future__ import annotations

import os
import random
import sys
import warnings
from itertools import pairwise
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed._shard.sharded_tensor import Shard, ShardedTensor
from torch.distributed._shard.sharding_spec import ShardMetadata
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, distribute_tensor
from torch.distributed.tensor import Shard as ShardOn

from millrace.checkpoint import load
from millrace.checkpoint.reader import ParallelFileSystemReader
from tests.checkpoint.fsdp_behaviours import check_fully_sharded_models

SIZES = (1, 2, 4)
MESHES: dict[int | str, DeviceMesh] = {}
"""Made by all ranks together: making one is a collective even for ranks outside of it."""
SHAPES = {"even": (16, 8), "uneven": (13, 7), "thin": (3, 5), "long": (4001, 3), "bf16": (32, 6)}


def whole(name: str) -> torch.Tensor:
    """The same tensor on every rank."""
    values = torch.randn(SHAPES[name], generator=torch.Generator().manual_seed(len(name)))
    return values.to(torch.bfloat16) if name == "bf16" else values


def random_dtensor(name: str, values: torch.Tensor, size: int, choice: random.Random) -> DTensor:
    """Sharded over a one- or two-dimensional mesh of the first `size` ranks, in a way that all of them draw alike."""
    mesh = MESHES["square"] if size == 4 and choice.random() < 0.5 else MESHES[size]
    placements = [choice.choice([ShardOn(0), ShardOn(1), Replicate()]) for _ in range(mesh.ndim)]
    return distribute_tensor(values, mesh, placements)


def random_sharded(values: torch.Tensor, size: int, group: dist.ProcessGroup, choice: random.Random) -> ShardedTensor:
    """Rows dealt out in stretches of random length, some ranks getting several, in a way that all of them draw alike."""
    rows = values.shape[0]
    edges = sorted({0, rows, *(choice.randrange(rows) for _ in range(size + 2))})
    shards = []
    for number, (low, high) in enumerate(pairwise(edges)):
        owner = number % size
        if owner == dist.get_rank():
            place = ShardMetadata([low, 0], [high - low, values.shape[1]], f"rank:{owner}/cpu")
            shards.append(Shard(values[low:high].clone(), place))
    return ShardedTensor._init_from_local_shards(shards, *values.shape, process_group=group)


def state(size: int, group: dist.ProcessGroup, seed: int, *, blank: bool) -> dict[str, object]:
    """A state dict of DTensors, sharded and plain tensors for the first `size` ranks."""
    choice = random.Random(seed)
    found: dict[str, object] = {"plain": torch.zeros(5, 5) if blank else torch.arange(25.0).view(5, 5), "step": 0 if blank else 9}
    for name in SHAPES:
        values = torch.zeros_like(whole(name)) if blank else whole(name)
        found[f"dtensor.{name}"] = random_dtensor(name, values, size, choice)
        found[f"sharded.{name}"] = random_sharded(values, size, group, choice)
    return found


def check(loaded: dict[str, object]) -> None:
    """Each rank compares what is its own."""
    assert torch.equal(loaded["plain"], torch.arange(25.0).view(5, 5))
    assert loaded["step"] == 9
    for name in SHAPES:
        dtensor, sharded = loaded[f"dtensor.{name}"], loaded[f"sharded.{name}"]
        expected = distribute_tensor(whole(name), dtensor.device_mesh, dtensor.placements)
        assert torch.equal(dtensor.to_local(), expected.to_local()), name
        for shard in sharded.local_shards():
            low, rows = shard.metadata.shard_offsets[0], shard.metadata.shard_sizes[0]
            assert torch.equal(shard.tensor, whole(name)[low : low + rows]), name


def main() -> None:
    """Save with each size, load with each size."""
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    dist.init_process_group("gloo")
    groups = {size: dist.new_group(list(range(size))) for size in SIZES}
    MESHES.update({size: DeviceMesh("cpu", list(range(size))) for size in SIZES})
    MESHES["square"] = DeviceMesh("cpu", torch.arange(4).reshape(2, 2), mesh_dim_names=("replicate", "shard"))
    loads = 0
    for saving in SIZES:
        if dist.get_rank() < saving:
            dcp.save(
                state(saving, groups[saving], saving, blank=False),
                storage_writer=dcp.FileSystemWriter(folder / str(saving), sync_files=False),
                process_group=groups[saving],
            )
        dist.barrier()
        for loading in SIZES:
            if dist.get_rank() < loading:
                loaded = state(loading, groups[loading], 10 * saving + loading, blank=True)
                reader = ParallelFileSystemReader(folder / str(saving), verify="crc")
                dcp.load(loaded, storage_reader=reader, process_group=groups[loading])
                check(loaded)
                assert reader.metrics.stock_items == 0, reader.metrics.stock_reasons
                alone = state(loading, groups[loading], 20 * saving + loading, blank=True)
                assert load(folder / str(saving), alone, verify="crc") is alone
                check(alone)
                loads += 1
            dist.barrier()
    sharded = check_fully_sharded_models(folder, MESHES[4], MESHES["square"])
    # One write for the whole line: the ranks share a pipe.
    os.write(1, f"rank {dist.get_rank()}: {loads} loads, {sharded} of fully sharded models\n".encode())
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
