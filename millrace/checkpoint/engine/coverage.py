"""Whether the saved parts of a tensor cover what is asked of it: torch's planner leaves a hole unread and says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, LoadPlanner
from torch.distributed.checkpoint.planner_helpers import _create_chunk_list

from millrace.records.checkpoint import Problem

Corners = np.ndarray[Any, np.dtype[np.int64]]
"""One row of indices per part: its first or last-plus-one element in each dimension."""
LOOKS_PER_PART = 64
"""How often parts are looked at, for each part: a tiling by N boxes takes about 2 N looks."""


def is_covered(one: TensorStorageMetadata) -> bool:
    """Whether a tensor's saved parts leave no hole in it. Parts may overlap."""
    chunks, size = one.chunks, one.size
    if len(chunks) == 1 and chunks[0].sizes == size and not any(chunks[0].offsets):
        return True
    return covers(chunks, (0,) * len(size), size)


def holes(plan: LoadPlan, planner: LoadPlanner, tensors: Mapping[str, Any]) -> list[Problem]:
    """The tensors of which a destination asks for more than is stored: the plan has no request for what is missing.

    Args:
        plan: the requests.
        planner: asked for the destinations, where it keeps a state dict as torch's does.
        tensors: the metadata's description of each saved value, by name.
    """
    wanted: Any = getattr(planner, "state_dict", None)
    wanted = wanted if isinstance(wanted, Mapping) else {}
    names = dict.fromkeys(item.storage_index.fqn for item in plan.items if item.type == LoadItemType.TENSOR)
    problems = []
    for name in names | dict.fromkeys(wanted):
        one = tensors.get(name)
        if not isinstance(one, TensorStorageMetadata) or is_covered(one):
            continue
        try:
            boxes = _create_chunk_list(wanted[name]) if name in wanted else None
        except ValueError:  # not a tensor: the planner has its own use for it
            continue
        if boxes is None or not all(covers(one.chunks, box.offsets, box.sizes) for box in boxes):
            what = f"the metadata lists {len(one.chunks)} parts of it, and they do not cover its shape {list(one.size)}"
            problems.append(Problem(f"{what}: a part is missing", tensor=name))
    return problems


def covers(chunks: Sequence[ChunkStorageMetadata], offsets: Sequence[int], sizes: Sequence[int]) -> bool:
    """Whether `chunks` contain every element of the box of `sizes` at `offsets`. False too where it takes too long to say."""
    if 0 in sizes:
        return True
    rank = len(sizes)
    chunks = [chunk for chunk in chunks if len(chunk.offsets) == len(chunk.sizes) == rank]
    if not chunks or not rank:
        return bool(chunks)
    low, high = np.array(offsets, dtype=np.int64), np.array(offsets, dtype=np.int64) + np.array(sizes, dtype=np.int64)
    lows = np.array([chunk.offsets for chunk in chunks], dtype=np.int64)
    highs = lows + np.array([chunk.sizes for chunk in chunks], dtype=np.int64)
    lows, highs = np.maximum(lows, low), np.minimum(highs, high)
    inside = (lows < highs).all(axis=1)
    lows, highs = lows[inside], highs[inside]
    cut = np.flatnonzero(((lows != low) | (highs != high)).any(axis=0))
    if not len(lows) or not len(cut):
        return bool(len(lows))
    if len(cut) == 1:  # cut along one dimension, as FSDP does
        return _line_covered(lows[:, cut[0]], highs[:, cut[0]], int(low[cut[0]]), int(high[cut[0]]))
    return _split(lows, highs, low, high, [LOOKS_PER_PART * (len(lows) + 16)])


def _line_covered(lows: Corners, highs: Corners, low: int, high: int) -> bool:
    order = np.argsort(lows, kind="stable")
    reach = np.maximum.accumulate(highs[order])
    return bool(lows[order[0]] <= low and reach[-1] >= high and (lows[order][1:] <= reach[:-1]).all())


def _split(lows: Corners, highs: Corners, low: Corners, high: Corners, looks: list[int]) -> bool:
    """Halve the box at an edge of a part until a part contains it or none touches it."""
    looks[0] -= 1
    if looks[0] < 0:
        return False
    touching = ((lows < high) & (highs > low)).all(axis=1)
    lows, highs = np.maximum(lows[touching], low), np.minimum(highs[touching], high)
    if not len(lows):
        return False
    if ((lows == low) & (highs == high)).all(axis=1).any():
        return True
    edges = [np.unique(np.concatenate((lows[:, axis], highs[:, axis]))) for axis in range(len(low))]
    inner = [edge[(edge > low[axis]) & (edge < high[axis])] for axis, edge in enumerate(edges)]
    axis = max(range(len(low)), key=lambda index: len(inner[index]))
    middle = inner[axis][len(inner[axis]) // 2]
    lower, upper = high.copy(), low.copy()
    lower[axis] = upper[axis] = middle
    return _split(lows, highs, low, lower, looks) and _split(lows, highs, upper, high, looks)
