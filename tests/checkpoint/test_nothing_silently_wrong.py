"""What torch reads right or refuses, this reader reads right or refuses too; nothing becomes other numbers in silence."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata

from millrace.checkpoint.engine.coverage import covers
from millrace.checkpoint.reader import ParallelFileSystemReader
from tests.checkpoint.saved_checkpoints import CutTensor, cause_of, filled, load, same, save, write_items

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


HALVES = [((0, 0), (20, 15)), ((0, 15), (20, 15)), ((20, 0), (20, 15)), ((20, 15), (20, 15))]


def with_chunks(path: Path, change: Any) -> Path:
    """A checkpoint of one tensor `t` in four parts, its list of parts changed."""
    save({"t": CutTensor.of(filled(40, 30), HALVES), "u": filled(5)}, path)
    metadata = pickle.loads((path / ".metadata").read_bytes())
    change(metadata.state_dict_metadata["t"].chunks)
    (path / ".metadata").write_bytes(pickle.dumps(metadata))
    return path


HOLES = {
    "three of four parts": lambda chunks: chunks.pop(2),
    "no parts": lambda chunks: chunks.clear(),
    "a part twice instead of another": lambda chunks: chunks.__setitem__(2, chunks[1]),
    "a part too short": lambda chunks: setattr(chunks[3], "sizes", torch.Size((19, 15))),
    "a part moved": lambda chunks: setattr(chunks[0], "offsets", torch.Size((1, 0))),
}


@pytest.mark.parametrize("verify", STRICTNESS)
@pytest.mark.parametrize("name", HOLES)
def test_a_hole_between_the_saved_parts_is_an_error_before_anything_is_read(tmp_path: Path, name: str, verify: Any) -> None:
    path = with_chunks(tmp_path, HOLES[name])
    state = {"t": torch.full((40, 30), 7.0), "u": torch.full((5,), 7.0)}
    with pytest.raises(dcp.api.CheckpointException, match="do not cover its shape") as caught:
        load(state, ParallelFileSystemReader(path, verify=verify))
    assert not cause_of(caught.value).touched
    assert all((one == 7).all() for one in state.values())


def test_a_hole_that_nobody_asks_for_is_no_error(tmp_path: Path) -> None:
    path = with_chunks(tmp_path, lambda chunks: chunks.pop(2))
    state = {"u": torch.zeros(5)}
    assert same(load(state, ParallelFileSystemReader(path))["u"], filled(5))
    target = CutTensor.of(torch.zeros(40, 30), HALVES[:2])
    load({"t": target}, ParallelFileSystemReader(path))
    assert same(target[:20], filled(40, 30)[:20])


def test_parts_that_overlap_and_cover_load_like_stock(tmp_path: Path) -> None:
    whole = filled(10, 6)
    boxes = [((0, 0), (7, 6)), ((5, 0), (5, 4)), ((6, 2), (4, 4))]
    items = [
        ("t", whole[low : low + rows, left : left + columns].clone(), ((low, left), (rows, columns), (10, 6)))
        for (low, left), (rows, columns) in boxes
    ]
    write_items(tmp_path, items)
    assert same(load({"t": torch.zeros(10, 6)}, ParallelFileSystemReader(tmp_path))["t"], whole)


@settings(max_examples=300, deadline=None)
@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    boxes=st.lists(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=3), max_size=8),
)
def test_coverage_is_what_counting_every_element_says(shape: list[int], boxes: list[list[tuple[int, int]]]) -> None:
    seen = torch.zeros(shape, dtype=torch.bool)
    chunks = []
    for box in boxes:
        cut = box[: len(shape)]
        chunks.append(ChunkStorageMetadata(torch.Size(low for low, _ in cut), torch.Size(size for _, size in cut)))
        seen[tuple(slice(low, low + size) for low, size in cut)] = True
    assert covers(chunks, (0,) * len(shape), shape) == bool(seen.all())


DESTINATIONS = {
    "whole": lambda one: one,
    "narrowed": lambda one: one[:, :20],
    "transposed": lambda one: one.t().contiguous().t(),
    "cast": lambda one: one.double(),
}


@pytest.mark.parametrize("kind", DESTINATIONS)
def test_backward_through_a_tensor_loaded_into_since_raises_as_with_stock(tmp_path: Path, kind: str) -> None:
    save({"w": DESTINATIONS[kind](torch.ones(30, 20))}, tmp_path)
    for reader in (dcp.FileSystemReader(tmp_path), ParallelFileSystemReader(tmp_path)):
        saved = DESTINATIONS[kind](torch.full((30, 40 if kind == "narrowed" else 20), 2.0))
        x = torch.ones(saved.shape, dtype=saved.dtype, requires_grad=True)
        result = (x * saved).sum()
        load({"w": saved}, reader)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            result.backward()


def test_the_version_of_a_parameter_is_bumped_and_inference_tensors_load(tmp_path: Path) -> None:
    save({"w": filled(3, 4), "empty": filled(0)}, tmp_path)
    weight = torch.nn.Parameter(torch.zeros(3, 4))
    before = weight._version
    load({"w": weight, "empty": torch.zeros(0)}, ParallelFileSystemReader(tmp_path))
    assert weight._version > before
    with torch.inference_mode():
        quick = torch.zeros(3, 4)
        load({"w": quick}, ParallelFileSystemReader(tmp_path))
    assert same(quick, filled(3, 4))
