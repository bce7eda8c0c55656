"""What torch reads right or refuses, this reader reads right or refuses too; nothing becomes other numbers in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.checkpoint.reader import ParallelFileSystemReader
from tests.checkpoint.saved_checkpoints import filled, load, same, write_items

STRICTNESS = ["none", "size", "crc"]


@pytest.mark.parametrize("verify", STRICTNESS)
@pytest.mark.parametrize("threads", [1, 3])
def test_rows_saved_with_their_whole_storage_arrive_as_themselves(tmp_path: Path, verify: Any, threads: int) -> None:
    """Four equal heads but for the storage offset: a prediction from the first is wrong for the others."""
    whole = filled(4, 300)
    write_items(tmp_path, [(f"row{index}", whole[index], None) for index in range(4)])
    targets = {f"row{index}": torch.zeros(300) for index in range(4)}
    load(targets, ParallelFileSystemReader(tmp_path, verify=verify, threads=threads))
    assert all(same(targets[f"row{index}"], whole[index]) for index in range(4))


def storages(size: int) -> list[torch.Tensor]:
    """Tensors of one shape and one item length whose bytes lie differently in their storages."""
    base = filled(4 * size * size)
    views = [base[start : start + size * size].view(size, size) for start in range(0, 3 * size * size, size * size)]
    views += [base.as_strided((size, size), (1, size)), base.as_strided((size, size), (2 * size, 2), 1)]
    return [*views, filled(size, size, seed=1), filled(size, size, seed=2).t()]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.lists(st.integers(0, 6), min_size=2, max_size=8),
    size=st.sampled_from([1, 3, 40]),
    verify=st.sampled_from(STRICTNESS),
    tied=st.booleans(),
    strided=st.booleans(),
)
def test_views_in_any_order_load_like_stock(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], size: int, verify: Any, tied: bool, strided: bool
) -> None:
    path = tmp_path_factory.mktemp("views")
    values = storages(size)
    write_items(path, [(f"t{number}", values[kind], None) for number, kind in enumerate(order)])

    def blank() -> dict[str, torch.Tensor]:
        shared = torch.zeros(size, size)
        state = {f"t{number}": torch.zeros(size, size) for number in range(len(order))}
        if strided:
            state = {name: torch.zeros(size, 2 * size)[:, ::2] for name in state}
        return {name: shared if tied and number < 3 else one for number, (name, one) in enumerate(state.items())}

    stock, ours = load(blank(), dcp.FileSystemReader(path)), load(blank(), ParallelFileSystemReader(path, verify=verify))
    assert all(same(stock[name], ours[name]) for name in stock)


@pytest.mark.parametrize("verify", STRICTNESS)
def test_a_conjugated_item_among_plain_ones_of_its_length_loads_like_stock(tmp_path: Path, verify: Any) -> None:
    values = [filled(30, dtype=torch.complex64, seed=index) for index in range(3)]
    write_items(tmp_path, [("a", values[0], None), ("b", values[1].conj(), None), ("c", values[2], None)])
    blank = {name: torch.zeros(30, dtype=torch.complex64) for name in "abc"}
    stock = load({name: one.clone() for name, one in blank.items()}, dcp.FileSystemReader(tmp_path))
    ours = load(blank, ParallelFileSystemReader(tmp_path, verify=verify))
    assert all(same(stock[name], ours[name]) for name in stock)
