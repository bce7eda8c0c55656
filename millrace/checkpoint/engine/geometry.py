"""Which bytes of a saved tensor go where in memory: strided boxes as few long runs.

Sizes and strides are in elements, row-major, as torch gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


def is_dense(sizes: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether the elements lie row-major without gaps. Strides of dimensions with one element don't matter."""
    expected = 1
    for size, stride in zip(reversed(sizes), reversed(strides), strict=True):
        if size == 0:
            return True
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True


@dataclass(frozen=True)
class Rows:
    """A box as equally long runs: run k is at `sources[k]` in the saved storage and at `targets[k]` in the destination."""

    sources: np.ndarray[Any, np.dtype[np.int64]]
    """Ascending, in elements from the box's first."""
    targets: np.ndarray[Any, np.dtype[np.int64]]
    length: int
    """Elements per run; 1 when source and destination share no fast dimension."""


@dataclass(frozen=True)
class RowShape:
    """A box's outer dimensions and the run that both sides have in common."""

    sizes: tuple[int, ...]
    source_strides: tuple[int, ...]
    target_strides: tuple[int, ...]
    length: int

    def rows(self) -> Rows:
        """The place of every run."""
        sources = np.zeros(1, dtype=np.int64)
        targets = np.zeros(1, dtype=np.int64)
        for size, source, target in zip(self.sizes, self.source_strides, self.target_strides, strict=True):
            steps = np.arange(size, dtype=np.int64)
            sources = (sources[:, None] + steps * source).reshape(-1)
            targets = (targets[:, None] + steps * target).reshape(-1)
        return Rows(sources, targets, self.length)


def row_shape(sizes: Sequence[int], sources: Sequence[int], targets: Sequence[int]) -> RowShape | None:
    """Split a box into runs that are contiguous on both sides.

    Dimensions are taken in the order of the source's strides, so that a transposed or channels-last pair with equal layouts is
    one run, and neighbouring dimensions are merged where both sides allow it. None: the source overlaps itself (an expanded or
    overlapping view), which only element-wise copying gets right.
    """
    dimensions = sorted(
        ((source, target, size) for size, source, target in zip(sizes, sources, targets, strict=True) if size != 1), reverse=True
    )
    merged: list[tuple[int, int, int]] = []
    for source, target, size in dimensions:
        if merged and merged[-1][0] == source * size and merged[-1][1] == target * size:
            merged[-1] = (source, target, merged[-1][2] * size)
        else:
            merged.append((source, target, size))
    reach = 1
    for source, target, size in reversed(merged):
        if source < reach or target == 0:
            return None
        reach = source * (size - 1) + reach
    length = 1
    if merged and merged[-1][0] == 1 and merged[-1][1] == 1:
        length = merged.pop()[2]
    return RowShape(
        tuple(size for _, _, size in merged),
        tuple(source for source, _, _ in merged),
        tuple(target for _, target, _ in merged),
        length,
    )


@dataclass(frozen=True)
class Box:
    """A strided part of a saved storage: `start` and `strides` in elements."""

    start: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def span(self) -> int:
        """Elements from the first to behind the last."""
        return sum((size - 1) * stride for size, stride in zip(self.sizes, self.strides, strict=True)) + 1


def pieces(box: Box, target: torch.Tensor, limit: int) -> Iterator[tuple[Box, torch.Tensor]]:
    """Cut a box and its destination alike until each piece spans at most `limit` elements of the storage (at least 1)."""
    if box.span <= limit or max(box.sizes, default=1) <= 1:
        yield box, target
        return
    dimension = max((index for index, size in enumerate(box.sizes) if size > 1), key=lambda index: box.strides[index])
    stride, size = box.strides[dimension], box.sizes[dimension]
    inner = box.span - (size - 1) * stride
    step = max(1, (limit - inner) // max(stride, 1) + 1) if inner <= limit else 1
    for low in range(0, size, step):
        count = min(step, size - low)
        sizes = (*box.sizes[:dimension], count, *box.sizes[dimension + 1 :])
        part = Box(box.start + low * stride, sizes, box.strides)
        yield from pieces(part, target.narrow(dimension, low, count), limit)


def copy_by_pieces(
    box: Box,
    target: torch.Tensor,
    dtype: torch.dtype,
    limit_nbytes: int,
    fetch: Callable[[int, int], torch.Tensor],
    *,
    asynchronous: bool = False,
) -> None:
    """Copy a box into any destination (other strides, dtype or device) through staging memory.

    Args:
        box: what to copy.
        target: of the same sizes.
        dtype: of the saved storage.
        limit_nbytes: the most bytes that `fetch` is asked for at a time.
        fetch: gives `count` elements of the storage from element `start` on, as a flat tensor of `dtype`.
        asynchronous: whether a copy may still be under way when the next piece is fetched; `fetch` then takes care of that.
    """
    for part, place in pieces(box, target, max(1, limit_nbytes // dtype.itemsize)):
        place.copy_(fetch(part.start, part.span).as_strided(part.sizes, part.strides), non_blocking=asynchronous)
