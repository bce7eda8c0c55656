"""What the reader loads is, bit for bit, what torch's own reader loads."""

from __future__ import annotations

import io
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.distributed.checkpoint.planner import LoadPlan, ReadItem
from torch.distributed.checkpoint.state_dict_loader import _load_state_dict_from_keys

from millrace.checkpoint import load as load_directly
from millrace.checkpoint.reader import ParallelFileSystemReader
from tests.checkpoint.saved_checkpoints import Box, CutTensor, assert_equal, cause_of, filled, load, same, save

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.complex64,
    torch.complex128,
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
]


def both(path: Path, make: Any, **options: Any) -> tuple[dict[str, Any], dict[str, Any], ParallelFileSystemReader]:
    reader = ParallelFileSystemReader(path, **options)
    stock, ours = load(make(), dcp.FileSystemReader(path)), load(make(), reader)
    for _ in range(2):  # by the metadata, then by the index that it left
        assert_equal(ours, load_directly(path, make(), **options))
    return stock, ours, reader


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_arrives_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    shapes = [(), (0,), (1,), (7,), (3, 5), (0, 4), (64, 33), (2, 3, 4, 5)]
    state = {f"t{index}": filled(*shape, dtype=dtype, seed=index) for index, shape in enumerate(shapes)}
    save(state, tmp_path)
    stock, ours, reader = both(tmp_path, lambda: {name: torch.zeros_like(one) for name, one in state.items()})
    for name, one in state.items():
        assert same(ours[name], one)
        assert same(ours[name], stock[name])
    assert reader.metrics.stock_items == 0


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("writers", [1, 4])
def test_large_tensors_shared_by_threads_arrive_bit_for_bit(tmp_path: Path, threads: int, writers: int) -> None:
    state = {f"big{index}": filled(1 << 20, 3 + index, seed=index) for index in range(3)}
    state |= {f"small{index}": filled(97, index + 1, seed=index) for index in range(200)}
    save(state, tmp_path, thread_count=writers)
    _, ours, reader = both(tmp_path, lambda: {name: torch.zeros_like(one) for name, one in state.items()}, threads=threads)
    assert all(same(ours[name], one) for name, one in state.items())
    assert reader.metrics.threads == threads
    assert reader.metrics.fast_items == len(state)


def destinations(whole: torch.Tensor) -> dict[str, torch.Tensor]:
    wide = torch.zeros(*whole.shape[:-1], whole.shape[-1] * 3, dtype=whole.dtype)
    return {
        "transposed": torch.zeros(whole.shape[::-1], dtype=whole.dtype).permute(*range(whole.dim() - 1, -1, -1)),
        "every third": wide[..., ::3],
        "columns of a wider one": wide[..., 1 : 1 + whole.shape[-1]],
        "double": torch.zeros(whole.shape, dtype=torch.float64),
        "half": torch.zeros(whole.shape, dtype=torch.float16),
        "complex": torch.zeros(whole.shape, dtype=torch.complex128),
        "conjugated": torch.zeros(whole.shape, dtype=torch.complex64).conj(),
        "parameter": torch.nn.Parameter(torch.zeros(whole.shape, dtype=whole.dtype)),
    }


@pytest.mark.parametrize("kind", sorted(destinations(torch.zeros(1, 1))))
@pytest.mark.parametrize("shape", [(5, 7), (300, 1000), (3, 1, 129)])
@pytest.mark.parametrize("saved_as", ["rows", "columns"])
@pytest.mark.filterwarnings("ignore:Casting complex")
def test_any_destination_is_filled_as_stock_fills_it(tmp_path: Path, kind: str, shape: tuple[int, ...], saved_as: str) -> None:
    whole = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    if saved_as == "columns":
        whole = whole.permute(*range(whole.dim() - 1, -1, -1)).contiguous().permute(*range(whole.dim() - 1, -1, -1))
    save({"t": whole}, tmp_path)
    stock, ours, reader = both(tmp_path, lambda: {"t": destinations(whole)[kind]}, max_staging_bytes=1)
    assert same(stock["t"].resolve_conj(), ours["t"].resolve_conj())
    assert reader.metrics.stock_items == 0


def test_untouched_parts_of_a_wider_tensor_stay_untouched(tmp_path: Path) -> None:
    save({"t": torch.ones(40, 500)}, tmp_path)
    wide = torch.full((40, 1500), 7.0)
    load({"t": wide[:, 500:1000]}, ParallelFileSystemReader(tmp_path))
    assert (wide[:, 500:1000] == 1).all()
    assert (wide[:, :500] == 7).all()
    assert (wide[:, 1000:] == 7).all()


@st.composite
def cuts(draw: st.DrawFn, shape: tuple[int, ...]) -> list[Box]:
    """A tiling of `shape` by boxes: a random grid."""
    boxes: list[Box] = [((), ())]
    for size in shape:
        edges = sorted({0, size, *draw(st.lists(st.integers(0, size), max_size=3))})
        spans = list(pairwise(edges))
        boxes = [((*off, low), (*sizes, high - low)) for off, sizes in boxes for low, high in spans]
    return boxes


@st.composite
def reshardings(draw: st.DrawFn) -> tuple[torch.dtype, tuple[int, ...], list[Box], list[Box]]:
    shape = tuple(draw(st.lists(st.integers(1, 40), min_size=1, max_size=3)))
    return draw(st.sampled_from(DTYPES)), shape, draw(cuts(shape)), draw(cuts(shape))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=reshardings(), verify=st.sampled_from(["none", "size", "crc"]), threads=st.integers(1, 3))
def test_any_sharding_plan_loads_from_any_other(
    tmp_path_factory: pytest.TempPathFactory, case: Any, verify: Any, threads: int
) -> None:
    dtype, shape, saved, wanted = case
    path = tmp_path_factory.mktemp("reshard")
    whole = filled(*shape, dtype=dtype)
    save({"t": CutTensor.of(whole, saved)}, path)
    target = CutTensor.of(torch.zeros(shape, dtype=dtype), wanted)
    load({"t": target}, ParallelFileSystemReader(path, verify=verify, threads=threads))
    assert same(target, whole)


def test_wide_shards_are_read_row_by_row_without_the_rest_of_their_file(tmp_path: Path) -> None:
    whole = filled(64, 1 << 16)
    save({"t": CutTensor.of(whole, [((0, 0), (64, 1 << 16))])}, tmp_path)
    target = CutTensor.of(torch.zeros_like(whole), [((0, 1000), (64, 2000))])
    reader = ParallelFileSystemReader(tmp_path)
    load({"t": target}, reader)
    assert same(target[:, 1000:3000], whole[:, 1000:3000])
    assert not target[:, 3000:].any()
    assert reader.metrics.read_bytes < 64 * 2000 * 4 + 64 * 20_000


def test_tied_weights_end_as_stock_leaves_them(tmp_path: Path) -> None:
    state = {f"w{index}": filled(300, 500, seed=index) for index in range(6)}
    save(state, tmp_path)

    def tied() -> dict[str, torch.Tensor]:
        memory = torch.zeros(900, 500)
        return {
            "w0": memory[:300],
            "w1": memory[:300],
            "w2": memory[100:400],
            "w3": memory[400:700],
            "w4": memory[600:900],
            "w5": torch.zeros(300, 500),
        }

    stock, ours, _ = both(tmp_path, tied, threads=2)
    assert all(same(stock[name], ours[name]) for name in state)


class Settings:
    """An object that no unpickler may build unasked."""

    def __init__(self) -> None:
        self.rate = 0.5


def test_nested_states_with_byte_items_load_like_stock(tmp_path: Path) -> None:
    state = {
        "model": {"layers": [filled(4, 4), filled(2, seed=1)], "naïve.名前": filled(3, seed=2)},
        "optimizer": {"step": 12, "betas": (0.9, 0.99), "name": "адам", "none": None},
        "epoch": 3,
    }
    save(state, tmp_path)

    def blank() -> dict[str, Any]:
        return {
            "model": {"layers": [torch.zeros(4, 4), torch.zeros(2)], "naïve.名前": torch.zeros(3)},
            "optimizer": {"step": 0, "betas": (), "name": "", "none": 1},
            "epoch": 0,
        }

    stock, ours, reader = both(tmp_path, blank)
    assert ours["optimizer"] == stock["optimizer"] == state["optimizer"]
    assert ours["epoch"] == 3
    assert same(ours["model"]["naïve.名前"], state["model"]["naïve.名前"])
    assert same(ours["model"]["layers"][0], state["model"]["layers"][0])
    assert reader.metrics.byte_items >= 4


def test_a_model_and_its_optimizer_resume_with_equal_state(tmp_path: Path) -> None:
    def trained(steps: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.Linear(16, 2))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.randn(4, 8)).sum().backward()
            optimizer.step()
        return model, optimizer

    model, optimizer = trained(3)
    save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path)
    other, its_optimizer = trained(1)
    state = {"model": other.state_dict(), "optimizer": its_optimizer.state_dict()}
    load(state, ParallelFileSystemReader(tmp_path))
    its_optimizer.load_state_dict(state["optimizer"])
    assert all(same(left, right) for left, right in zip(model.parameters(), other.parameters(), strict=True))
    assert its_optimizer.state_dict()["state"][0]["step"] == 3


class StagingPlanner(dcp.DefaultLoadPlanner):
    """Hands out one buffer again and again and copies on commit."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = torch.zeros(4096)
        self.waiting = False

    def resolve_tensor(self, read_item: ReadItem) -> torch.Tensor:
        assert not self.waiting, "resolved before the last one was committed"
        self.waiting = True
        return self.buffer[: read_item.lengths.numel()].view(read_item.lengths)

    def commit_tensor(self, read_item: ReadItem, tensor: torch.Tensor) -> None:
        self.waiting = False
        super().resolve_tensor(read_item).copy_(tensor)


def test_a_planner_with_one_staging_buffer_gets_its_commits_in_time(tmp_path: Path) -> None:
    state = {f"w{index}": filled(32, index + 1, seed=index) for index in range(50)}
    save(state, tmp_path)
    ours = load(
        {name: torch.zeros_like(one) for name, one in state.items()},
        ParallelFileSystemReader(tmp_path, threads=3),
        planner=StagingPlanner(),
    )
    assert all(same(ours[name], one) for name, one in state.items())


class RenamingPlanner(dcp.DefaultLoadPlanner):
    """Loads `new.x` from what was saved as `x`."""

    def create_local_plan(self) -> LoadPlan:
        assert self.metadata is not None
        self.state_dict = {name.removeprefix("new."): one for name, one in self.state_dict.items()}
        return super().create_local_plan()


def test_a_renaming_planner_works_as_with_stock(tmp_path: Path) -> None:
    save({"w": filled(9)}, tmp_path)
    ours = load({"new.w": torch.zeros(9)}, ParallelFileSystemReader(tmp_path), planner=RenamingPlanner())
    assert same(ours["new.w"], filled(9))


def test_partial_loads_leave_unsaved_names_alone(tmp_path: Path) -> None:
    save({"a": filled(5), "b": filled(6)}, tmp_path)
    state = {"a": torch.zeros(5), "c": torch.full((2,), 3.0)}
    load(state, ParallelFileSystemReader(tmp_path), planner=dcp.DefaultLoadPlanner(allow_partial_load=True))
    assert same(state["a"], filled(5))
    assert (state["c"] == 3).all()


def test_loading_by_keys_builds_the_state_dict(tmp_path: Path) -> None:
    save({"model": {"a": filled(5), "b": filled(6)}}, tmp_path)
    with pytest.warns(UserWarning, match="single process"):
        state = _load_state_dict_from_keys({"model.a"}, storage_reader=ParallelFileSystemReader(tmp_path))
    assert list(state["model"]) == ["a"]
    assert same(state["model"]["a"], filled(5))


def test_an_asynchronously_saved_checkpoint_loads_like_any_other(tmp_path: Path) -> None:
    state = {"model": {"w": filled(300, 5)}, "step": 4}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.async_save(state, storage_writer=dcp.FileSystemWriter(tmp_path, sync_files=False), no_dist=True).result()
    stock, ours, reader = both(tmp_path, lambda: {"model": {"w": torch.zeros(300, 5)}, "step": 0})
    assert same(ours["model"]["w"], state["model"]["w"])
    assert ours["step"] == stock["step"] == 4
    assert reader.metrics.stock_items == 0


class Counter:
    """A Stateful: torch asks it for its state and gives it the loaded one."""

    def __init__(self, value: float) -> None:
        self.values = torch.full((4,), value)
        self.told = 0

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values = state["values"]
        self.told += 1


def test_a_stateful_object_is_given_its_state_once(tmp_path: Path) -> None:
    save({"counter": Counter(3.0)}, tmp_path)
    counter = Counter(0.0)
    load({"counter": counter}, ParallelFileSystemReader(tmp_path))
    assert counter.values.tolist() == [3.0] * 4
    assert counter.told == 1


def test_what_was_never_saved_is_the_same_error_as_with_stock(tmp_path: Path) -> None:
    save({"a": filled(5)}, tmp_path)
    for wrong in ({"b": torch.zeros(5)}, {"a": torch.zeros(6)}):
        told = []
        for reader in (dcp.FileSystemReader(tmp_path), ParallelFileSystemReader(tmp_path)):
            with pytest.raises(BaseException, match=r"Missing key|[Ss]ize mismatch") as raised:
                load(dict(wrong), reader)
            told.append((type(raised.value), type(cause_of(raised.value)), str(cause_of(raised.value))))
        assert told[0] == told[1]


def test_one_planner_serves_a_second_load(tmp_path: Path) -> None:
    state = {"model": {"w": filled(30, 5)}, "empty": {}, "list": [filled(2), 5]}
    save(state, tmp_path)
    planner = dcp.DefaultLoadPlanner()
    for _ in range(2):
        ours = load(
            {"model": {"w": torch.zeros(30, 5)}, "empty": {}, "list": [torch.zeros(2), 0]},
            ParallelFileSystemReader(tmp_path),
            planner=planner,
        )
        assert same(ours["model"]["w"], state["model"]["w"])
        assert ours["list"][1] == 5


def test_one_reader_serves_several_checkpoints(tmp_path: Path) -> None:
    reader = ParallelFileSystemReader(save({"a": filled(5)}, tmp_path / "one"))
    save({"a": filled(5, seed=1)}, tmp_path / "two")
    assert same(load({"a": torch.zeros(5)}, reader)["a"], filled(5))
    assert same(load({"a": torch.zeros(5)}, reader, checkpoint_id=tmp_path / "two")["a"], filled(5, seed=1))


def test_a_saved_view_and_an_expanded_tensor_load_like_stock(tmp_path: Path) -> None:
    state = {
        "view": filled(100, 100)[10:20, 5:50],
        "expanded": torch.ones(1, 7).expand(5, 7),
        "parameter": torch.nn.Parameter(filled(3)),
    }
    save(state, tmp_path)
    stock, ours, _ = both(tmp_path, lambda: {name: torch.zeros(one.shape) for name, one in state.items()})
    assert all(same(stock[name], ours[name]) for name in state)


def test_items_that_torch_must_read_are_counted_with_their_reason(tmp_path: Path) -> None:
    save({"conjugated": torch.complex(filled(4), filled(4, seed=1)).conj(), "plain": filled(4)}, tmp_path)
    stock, ours, reader = both(tmp_path, lambda: {"conjugated": torch.zeros(4, dtype=torch.complex64), "plain": torch.zeros(4)})
    assert same(stock["conjugated"], ours["conjugated"])
    assert reader.metrics.stock_items == 1
    assert list(reader.metrics.stock_reasons) == ["pickle opcode 0x7d"]


def test_a_rank_local_checkpoint_loads_without_collectives(tmp_path: Path) -> None:
    writer = dcp.FileSystemWriter(tmp_path, sync_files=False)
    save({"a": filled(5)}, tmp_path)
    del writer
    (tmp_path / ".metadata").rename(tmp_path / "__0.metadata")
    assert same(load({"a": torch.zeros(5)}, ParallelFileSystemReader(tmp_path))["a"], filled(5))


def test_a_file_url_is_read_as_the_folder_it_names(tmp_path: Path) -> None:
    save({"a": filled(5), "step": 4}, tmp_path)
    reader = ParallelFileSystemReader(f"file://{tmp_path}")
    state = load({"a": torch.zeros(5), "step": 0}, reader)
    assert same(state["a"], filled(5))
    assert state["step"] == 4
    assert reader.metrics.stock_items == 0


def test_progress_ends_at_the_total_and_never_falls(tmp_path: Path) -> None:
    state = {f"w{index}": filled(1 << 18, seed=index) for index in range(12)} | {"step": 3}
    save(state, tmp_path)
    seen: list[tuple[int, int]] = []
    reader = ParallelFileSystemReader(tmp_path, on_progress=lambda done, total: seen.append((done, total)), max_workers=2)
    load({name: torch.zeros(1 << 18) if name != "step" else 0 for name in state}, reader)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1] == reader.metrics.payload_bytes
    assert seen[-1][0] > 12 << 20


def test_the_old_switches_choose_the_number_of_threads(tmp_path: Path) -> None:
    assert ParallelFileSystemReader(tmp_path, enable_parallel=False, max_workers=7).threads == 1
    assert ParallelFileSystemReader(tmp_path, max_workers=7).threads == 7
    with pytest.raises(ValueError, match="at least 1"):
        ParallelFileSystemReader(tmp_path, threads=0)


def test_byte_items_of_a_planner_of_ones_own_arrive_as_bytes(tmp_path: Path) -> None:
    save({"note": {"a": 1}}, tmp_path)
    seen = []

    class Listening(dcp.DefaultLoadPlanner):
        def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
            seen.append(value.getvalue())
            super().load_bytes(read_item, value)

    load({"note": {"a": 0}}, ParallelFileSystemReader(tmp_path), planner=Listening())
    assert len(seen) == 1
    assert seen[0].startswith(b"PK")


def test_items_alike_in_all_but_their_layout_are_told_apart(tmp_path: Path) -> None:
    state = {f"w{index}": filled(8, 8, seed=index) if index % 3 else filled(8, 8, seed=index).t() for index in range(30)}
    save(state, tmp_path)
    seen: list[tuple[int, int]] = []
    reader = ParallelFileSystemReader(tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    ours = load({name: torch.zeros(8, 8) for name in state}, reader)
    assert all(same(ours[name], one) for name, one in state.items())
    assert reader.metrics.stock_items == 0
    assert seen[-1] == (30 * 256, 30 * 256)


def test_an_item_whose_descriptor_is_damaged_is_left_to_torch(tmp_path: Path) -> None:
    state = {f"w{index}": filled(8, 8, seed=index) for index in range(5)}
    save(state, tmp_path)
    places = ParallelFileSystemReader(tmp_path).read_metadata().storage_data
    info = next(info for index, info in places.items() if index.fqn == "w2")
    file = tmp_path / info.relative_path
    data = bytearray(file.read_bytes())
    data[info.offset + 704 + 256] ^= 1
    file.write_bytes(data)
    stock, ours, reader = both(tmp_path, lambda: {name: torch.zeros(8, 8) for name in state})
    assert all(same(ours[name], stock[name]) for name in state)
    assert reader.metrics.stock_reasons == {"no matching descriptor after the storage": 1}


def test_concurrent_loads_do_not_disturb_each_other(tmp_path: Path) -> None:
    state = {f"w{index}": filled(1 << 19, seed=index) for index in range(6)}
    save(state, tmp_path, thread_count=2)

    def one(_: int) -> bool:
        ours = load(
            {name: torch.zeros_like(value) for name, value in state.items()}, ParallelFileSystemReader(tmp_path, threads=2)
        )
        return all(same(ours[name], value) for name, value in state.items())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(one, range(8)))
