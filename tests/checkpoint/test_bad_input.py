"""Whatever is wrong with a checkpoint is said, all of it, with names; nothing wrong is ever loaded in silence."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
from array import array
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.checkpoint.engine.vector_io import PosixFiles
from millrace.checkpoint.problems import CheckpointError
from millrace.checkpoint.reader import ParallelFileSystemReader
from millrace.records.checkpoint import Problem
from tests.checkpoint.saved_checkpoints import cause_of, filled, load, same, save

STATE = {f"layer{index}.weight": filled(20, index + 3, seed=index) for index in range(5)}


def blank() -> dict[str, torch.Tensor]:
    return {name: torch.full(one.shape, 7.0) for name, one in STATE.items()}


def failure(state: dict[str, Any], reader: ParallelFileSystemReader) -> CheckpointError:
    with pytest.raises(dcp.api.CheckpointException) as caught:
        load(state, reader)
    cause = cause_of(caught.value)
    assert isinstance(cause, CheckpointError), cause
    return cause


def untouched(state: dict[str, torch.Tensor]) -> bool:
    return all((one == 7).all() for one in state.values())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(dict(STATE), tmp_path_factory.mktemp("saved"), thread_count=3)


def copy_of(saved: Path, place: Path) -> Path:
    return Path(shutil.copytree(saved, place / "copy"))


def data_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.distcp"))


def test_a_missing_file_is_named_and_nothing_is_touched(saved: Path, tmp_path: Path) -> None:
    folder = copy_of(saved, tmp_path)
    gone = data_files(folder)[1]
    gone.unlink()
    state = blank()
    error = failure(state, ParallelFileSystemReader(folder))
    assert [problem.file for problem in error.problems] == [gone.name]
    assert "missing" in str(error)
    assert not error.touched
    assert untouched(state)


@pytest.mark.parametrize("file", [0, 1, 2])
def test_a_file_cut_at_any_byte_names_its_tensors(saved: Path, tmp_path: Path, file: int) -> None:
    folder = copy_of(saved, tmp_path)
    path = data_files(folder)[file]
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        state = blank()
        error = failure(state, ParallelFileSystemReader(folder))
        assert untouched(state)
        assert all(problem.file == path.name and problem.tensor in STATE for problem in error.problems)
        assert all(problem.offset is not None for problem in error.problems)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(file=st.integers(0, 2), place=st.floats(0, 1, exclude_max=True), kind=st.sampled_from(["cut", "flip", "zeros", "swap"]))
def test_under_crc_a_damaged_checkpoint_never_gives_a_wrong_tensor(
    saved: Path, tmp_path_factory: pytest.TempPathFactory, file: int, place: float, kind: str
) -> None:
    folder = copy_of(saved, tmp_path_factory.mktemp("damaged"))
    path = data_files(folder)[file]
    data = bytearray(path.read_bytes())
    at = int(place * len(data))
    if kind == "cut":
        del data[at:]
    elif kind == "flip":
        data[at] ^= 1 << (at % 8)
    elif kind == "zeros":
        data[at : at + 300] = bytes(len(data[at : at + 300]))
    else:
        data = bytearray(data_files(folder)[(file + 1) % 3].read_bytes())
    path.write_bytes(data)
    state = blank()
    reader = ParallelFileSystemReader(folder, verify="crc")
    raised = None
    try:
        load(state, reader)
    except dcp.api.CheckpointException as error:
        raised = cause_of(error)
    if raised is None:
        assert all(same(state[name], one) for name, one in STATE.items())
    else:
        assert isinstance(raised, CheckpointError)


def test_one_flipped_payload_byte_is_found_before_anything_is_touched(saved: Path, tmp_path: Path) -> None:
    folder = copy_of(saved, tmp_path)
    place = ParallelFileSystemReader(folder).read_metadata().storage_data
    index, info = next((index, info) for index, info in place.items() if index.fqn == "layer2.weight")
    path = folder / info.relative_path
    data = bytearray(path.read_bytes())
    data[info.offset + 704 + 11] ^= 4
    path.write_bytes(data)
    state = blank()
    error = failure(state, ParallelFileSystemReader(folder, verify="crc"))
    assert [(problem.tensor, problem.offset) for problem in error.problems] == [(index.fqn, info.offset)]
    assert "CRC mismatch" in str(error)
    assert untouched(state)


class FailingDisk(PosixFiles):
    """Fails with EIO wherever a read covers one of `bad` (path ending, offset)."""

    def __init__(self, *bad: tuple[str, int]) -> None:
        self.bad = bad
        self.paths: dict[int, str] = {}

    def open(self, path: Path) -> int:
        handle = super().open(path)
        self.paths[handle] = path.name
        return handle

    def read_vector(self, handle: int, ranges: array[int], start: int, count: int, offset: int) -> int:
        end = offset + sum(ranges[2 * index + 1] for index in range(start, start + count))
        if any(self.paths[handle] == name and offset <= at < end for name, at in self.bad):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read_vector(handle, ranges, start, count, offset)


@pytest.mark.parametrize("threads", [1, 2])
def test_disk_errors_in_mid_read_name_exactly_the_tensors_they_hit(tmp_path: Path, threads: int) -> None:
    state = {f"small{index:03}": filled(50, 60, seed=index) for index in range(80)} | {"big": filled(3 << 20)}
    save(state, tmp_path)
    storage = ParallelFileSystemReader(tmp_path).read_metadata().storage_data
    places = {index.fqn: info for index, info in storage.items()}
    hit = ["small003", "small040", "big"]
    disk = FailingDisk(*((places[name].relative_path, places[name].offset + 5000) for name in hit))
    targets = {name: torch.zeros_like(one) for name, one in state.items()}
    error = failure(targets, ParallelFileSystemReader(tmp_path, files=disk, threads=threads))
    assert {problem.tensor for problem in error.problems} == set(hit)
    assert all("Input/output error" in problem.what for problem in error.problems)
    assert error.touched
    assert "partly overwritten" in str(error)
    assert all(same(targets[name], one) for name, one in state.items() if name not in hit)


class StingyDisk(PosixFiles):
    """Gives a few bytes at a time, as a network file system may."""

    def read_vector(self, handle: int, ranges: array[int], start: int, count: int, offset: int) -> int:
        few = array("Q", (ranges[2 * start], min(ranges[2 * start + 1], 1013)))
        return super().read_vector(handle, few, 0, 1, offset)


def test_short_reads_are_gone_on_with(tmp_path: Path) -> None:
    state = {"a": filled(4000), "b": filled(0), "c": filled(1, 3), "d": filled(900, 70)}
    save(state, tmp_path)
    targets = load(
        {name: torch.zeros_like(one) for name, one in state.items()}, ParallelFileSystemReader(tmp_path, files=StingyDisk())
    )
    assert all(same(targets[name], one) for name, one in state.items())


class ClosedFolder(PosixFiles):
    """Nobody may read files of this ending."""

    def __init__(self, ending: str) -> None:
        self.ending = ending

    def open(self, path: Path | str) -> int:
        if str(path).endswith(self.ending):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return super().open(path)


def test_files_without_permission_are_all_named(saved: Path) -> None:
    error = failure(blank(), ParallelFileSystemReader(saved, files=ClosedFolder(".distcp")))
    assert {problem.file for problem in error.problems} == {path.name for path in data_files(saved)}
    assert "Permission denied" in str(error)


def test_metadata_without_permission_is_named_and_no_other_file_is_looked_for(saved: Path) -> None:
    error = failure(blank(), ParallelFileSystemReader(saved, files=ClosedFolder("metadata")))
    assert {problem.file for problem in error.problems} == {".metadata", "__0.metadata"}  # torch asks for both
    assert "Permission denied" in str(error)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "nowhere", "there is no such folder"),
        (lambda folder: folder, "holds no checkpoint"),
        (lambda folder: (folder / "__0_0.distcp").touch() or folder, "still being written"),
    ],
)
def test_what_is_not_a_finished_checkpoint_is_called_that(tmp_path: Path, make: Any, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        ParallelFileSystemReader(make(tmp_path)).read_metadata()
    with pytest.raises(dcp.api.CheckpointException, match=said):
        load(blank(), ParallelFileSystemReader(tmp_path if "folder" not in said else tmp_path / "nowhere"))


def test_a_state_dict_that_asks_for_what_is_not_there_fails_as_with_stock(saved: Path) -> None:
    for reader in (dcp.FileSystemReader(saved), ParallelFileSystemReader(saved)):
        with pytest.raises(dcp.api.CheckpointException, match=r"Missing key in checkpoint state_dict: extra"):
            load({**blank(), "extra": torch.zeros(1)}, reader)
        with pytest.raises(dcp.api.CheckpointException, match="Size mismatch"):
            load({"layer0.weight": torch.zeros(3, 3)}, reader)


class WrongShapes(dcp.DefaultLoadPlanner):
    def resolve_tensor(self, read_item: Any) -> torch.Tensor:
        tensor = super().resolve_tensor(read_item)
        return tensor[:-1] if read_item.dest_index.fqn in ("layer1.weight", "layer3.weight") else tensor


def test_all_destinations_of_a_wrong_shape_are_named(saved: Path) -> None:
    with pytest.raises(dcp.api.CheckpointException) as caught:
        load(blank(), ParallelFileSystemReader(saved), planner=WrongShapes())
    error = cause_of(caught.value)
    assert isinstance(error, CheckpointError)
    assert {problem.tensor for problem in error.problems} == {"layer1.weight", "layer3.weight"}


def test_files_of_other_shapes_in_each_others_place_are_noticed_by_size(saved: Path, tmp_path: Path) -> None:
    folder = copy_of(saved, tmp_path)
    first, second, _ = data_files(folder)
    swapped = first.read_bytes(), second.read_bytes()
    longest = max(map(len, swapped))
    first.write_bytes(swapped[1].ljust(longest, b"\0"))
    second.write_bytes(swapped[0].ljust(longest, b"\0"))
    assert "mixed up" in str(failure(blank(), ParallelFileSystemReader(folder))) or "torch cannot read" in str(
        failure(blank(), ParallelFileSystemReader(folder))
    )


def test_metadata_that_points_outside_the_checkpoint_is_refused(saved: Path, tmp_path: Path) -> None:
    folder = copy_of(saved, tmp_path)
    metadata = ParallelFileSystemReader(folder).read_metadata()
    for info in metadata.storage_data.values():
        info.relative_path = f"../{info.relative_path}"
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    assert "outside the checkpoint" in str(failure(blank(), ParallelFileSystemReader(folder)))


def test_an_error_survives_pickling_with_its_problems() -> None:
    error = CheckpointError("here", [Problem("broken", "file", "tensor", 5)], touched=True)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.problems == error.problems
    assert "file, tensor 'tensor', offset 5: broken" in str(again)


def test_nan_and_infinity_are_kept(tmp_path: Path) -> None:
    odd = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0])
    save({"odd": odd}, tmp_path)
    assert same(load({"odd": torch.zeros(4)}, ParallelFileSystemReader(tmp_path, verify="crc"))["odd"], odd)


def test_items_saved_without_a_crc_fail_crc_and_pass_size(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        save({"a": filled(1000)}, tmp_path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert same(load({"a": torch.zeros(1000)}, ParallelFileSystemReader(tmp_path))["a"], filled(1000))
    assert "without a CRC" in str(failure({"a": torch.zeros(1000)}, ParallelFileSystemReader(tmp_path, verify="crc")))


@pytest.mark.parametrize("entry", [b"big   ", b"\xff\xfe\xfd   ", b"      ", b"LITTLE"])
@pytest.mark.parametrize("verify", ["none", "size", "crc"])
def test_a_damaged_byteorder_entry_is_our_error_that_can_be_printed(
    saved: Path, tmp_path: Path, entry: bytes, verify: Any
) -> None:
    folder = copy_of(saved, tmp_path)
    path = data_files(folder)[0]
    data = path.read_bytes()
    assert data.count(b"little") >= 1
    path.write_bytes(data.replace(b"little", entry))
    error = failure(blank(), ParallelFileSystemReader(folder, verify=verify))
    assert str(error).encode()
    assert all(problem.file == path.name for problem in error.problems)


def test_names_that_cannot_be_printed_are_escaped_in_an_error(saved: Path, tmp_path: Path) -> None:
    folder = copy_of(saved, tmp_path)
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    for info in metadata.storage_data.values():
        info.relative_path = "__\udcff_0.distcp"
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    error = failure(blank(), ParallelFileSystemReader(folder))
    assert "udcff" in str(error)
    assert str(error).encode()
