"""Many files, files that never answer, and programs that changed where new tensors go."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

from millrace.checkpoint.convert import convert_checkpoint
from millrace.checkpoint.engine.vector_io import PosixFiles
from millrace.checkpoint.problems import CheckpointError
from millrace.checkpoint.reader import ParallelFileSystemReader
from millrace.checkpoint.settings import ConvertSettings
from millrace.checkpoint.verify import parts_of, seal_checkpoint, verify_file
from tests.checkpoint.saved_checkpoints import cause_of, filled, load, same, save, write_items

STATE = {f"w{number}": filled(50, seed=number) for number in range(400)}


@pytest.fixture(scope="module")
def many_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save(dict(STATE), tmp_path_factory.mktemp("many"), single_file_per_rank=False)
    assert len(list(folder.glob("*.distcp"))) == len(STATE)
    return folder


@pytest.fixture
def few_handles() -> Iterator[int]:
    used = len(list(Path("/proc/self/fd").iterdir()))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 40, before[1]))
    yield used + 40
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("verify", ["size", "crc"])
@pytest.mark.parametrize("threads", [1, 4])
def test_more_files_than_handles_load_like_stock(many_files: Path, few_handles: int, verify: Any, threads: int) -> None:
    targets = {name: torch.zeros(50) for name in STATE}
    load(targets, ParallelFileSystemReader(many_files, verify=verify, threads=threads))
    assert all(same(targets[name], one) for name, one in STATE.items())


def test_a_process_that_has_most_of_its_handles_in_use_already_loads_like_stock(many_files: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(300)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 30, before[1]))
        targets = {name: torch.zeros(50) for name in STATE}
        load(targets, ParallelFileSystemReader(many_files))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for handle in held:
            os.close(handle)
    assert all(same(targets[name], one) for name, one in STATE.items())


def test_no_handle_is_left_open_after_a_load(many_files: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    load({name: torch.zeros(50) for name in STATE}, ParallelFileSystemReader(many_files))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


class Busy(PosixFiles):
    """Counts how many files are open at once."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def open(self, path: Any) -> int:
        self.now += 1
        self.most = max(self.most, self.now)
        return super().open(path)

    def close(self, handle: int) -> None:
        self.now -= 1
        super().close(handle)


def test_at_most_so_many_files_are_open_at_once(many_files: Path) -> None:
    files = Busy()
    load({name: torch.zeros(50) for name in STATE}, ParallelFileSystemReader(many_files, files=files, threads=3))
    assert files.now == 0
    assert files.most <= 128 + 3


def test_a_file_that_changes_its_length_while_it_is_read_is_an_error(many_files: Path, tmp_path: Path) -> None:
    class Growing(Busy):
        def size(self, handle: int) -> int:
            return super().size(handle) + (self.most > 100 and self.now % 2)

    with pytest.raises(dcp.api.CheckpointException, match="another length"):
        load({name: torch.zeros(50) for name in STATE}, ParallelFileSystemReader(many_files, files=Growing()))


class Dead(PosixFiles):
    """A server that answers no `call` on a file of a certain name, until it is let go."""

    def __init__(self, call: str, name: str) -> None:
        self.call, self.name = call, name
        self.names: dict[int, str] = {}
        self.back = threading.Event()

    def _perhaps(self, call: str, name: str) -> None:
        if call == self.call and name == self.name:
            self.back.wait(60)

    def open(self, path: Any) -> int:
        self._perhaps("open", Path(path).name)
        handle = super().open(path)
        self.names[handle] = Path(path).name
        return handle

    def read_at(self, handle: int, nbytes: int, offset: int) -> bytes:
        self._perhaps("read_at", self.names[handle])
        return super().read_at(handle, nbytes, offset)

    def read_vector(self, handle: int, ranges: array[int], start: int, count: int, offset: int) -> int:
        self._perhaps("read_vector", self.names[handle])
        return super().read_vector(handle, ranges, start, count, offset)


@pytest.mark.parametrize("threads", [None, 1, 3])
@pytest.mark.parametrize("call", ["open", "read_at", "read_vector"])
@pytest.mark.parametrize("kind", ["plain", "cast", "conjugated", "bytes"])
def test_a_read_that_never_ends_is_given_up_with_the_files_name(
    tmp_path: Path, call: str, kind: str, threads: int | None
) -> None:
    values = {"plain": filled(50), "cast": filled(50), "conjugated": torch.ones(5, dtype=torch.complex64).conj(), "bytes": 5}
    save({"w": values[kind]}, tmp_path)
    files = Dead(call, "__0_0.distcp")
    target = {"plain": torch.zeros(50), "cast": torch.zeros(50).double(), "conjugated": torch.zeros(5, dtype=torch.complex64)}
    start = time.monotonic()
    reader = ParallelFileSystemReader(tmp_path, files=files, stall_s=0.4, threads=threads)
    try:
        if call == "read_vector" and kind in ("conjugated", "bytes"):
            load({"w": target.get(kind, 0)}, reader)  # these are not read by vectors
        else:
            with pytest.raises(dcp.api.CheckpointException, match="no answer for") as caught:
                load({"w": target.get(kind, 0)}, reader)
            error = cause_of(caught.value)
            assert isinstance(error, CheckpointError)
            assert [problem.file for problem in error.problems] == ["__0_0.distcp"]
            assert "stall_s" in str(error)
            assert error.touched == (call == "read_vector")
    finally:
        files.back.set()
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("call", ["open", "read_at"])
def test_a_sum_that_never_ends_is_given_up_too(tmp_path: Path, call: str) -> None:
    save({"w": filled(50)}, tmp_path)
    files = Dead(call, "__0_0.distcp")
    (part,) = parts_of(tmp_path)[0]
    try:
        (problem,) = verify_file(part, stall_s=0.4, files=files).problems
        assert (problem.file, "no answer for" in problem.what) == ("__0_0.distcp", True)
    finally:
        files.back.set()


SAFETENSORS = {"w": filled(50)}


def saved_as(kind: str, folder: Path) -> Path:
    """A checkpoint of one tensor, in one of the forms that a reader takes."""
    path = save(dict(SAFETENSORS), folder / "dcp")
    if kind == "sealed":
        parts, _ = parts_of(path)
        seal_checkpoint(path, [verify_file(part) for part in parts])
    elif kind != "dcp":
        formats: dict[str, Any] = {"safetensors": "safetensors", "torch_save": "torch_save"}
        convert_checkpoint(path, ConvertSettings(to=folder / "made", format=formats[kind]))
        return folder / "made"
    return path


DEAD = [
    ("dcp", ".metadata", "open"),
    ("dcp", ".metadata", "read_at"),
    ("sealed", ".millrace-seal.json", "open"),
    ("sealed", ".millrace-seal.json", "read_at"),
    ("safetensors", "model.safetensors", "open"),
    ("safetensors", "model.safetensors", "read_at"),
    ("safetensors", "model.safetensors.index.json", "open"),
]


@pytest.mark.parametrize(("kind", "file", "call"), DEAD)
def test_what_says_where_the_bytes_are_is_not_waited_for_either(tmp_path: Path, kind: str, file: str, call: str) -> None:
    path, files = saved_as(kind, tmp_path), Dead(call, file)
    reader = ParallelFileSystemReader(path, files=files, stall_s=0.3, verify="crc")
    try:
        with pytest.raises(dcp.api.CheckpointException, match="no answer for") as caught:
            load({"w": torch.zeros(50)}, reader)
        error = cause_of(caught.value)
        assert isinstance(error, CheckpointError)
        assert {problem.file for problem in error.problems} == {file}
        assert not error.touched
        with pytest.raises(CheckpointError, match="no answer for"):
            parts_of(path, stall_s=0.3, files=files)
    finally:
        files.back.set()


@pytest.mark.parametrize("call", ["open", "read_at"])
@pytest.mark.parametrize(
    ("kind", "file"),
    [("torch_save", "made"), ("dcp", ".metadata"), ("dcp", "__0_0.distcp"), ("safetensors", "model.safetensors")],
)
@pytest.mark.parametrize("check", ["none", "size", "crc"])
def test_a_conversion_ends_with_the_files_name_when_its_source_never_answers(
    tmp_path: Path, kind: str, file: str, call: str, check: Any
) -> None:
    path, files = saved_as(kind, tmp_path), Dead(call, file)
    wanted = ConvertSettings(to=tmp_path / "out", format="dcp", check=check)
    try:
        with pytest.raises(CheckpointError, match="no answer for") as caught:
            convert_checkpoint(path, wanted, stall_s=0.3, files=files)
    finally:
        files.back.set()
    assert file in {problem.file for problem in caught.value.problems}
    assert not (tmp_path / "out").exists()


class DeadLater(Dead):
    """Answers to so many reads, and to no other."""

    def __init__(self, name: str, reads: int) -> None:
        super().__init__("read_at", name)
        self.reads = reads

    def _perhaps(self, call: str, name: str) -> None:
        if call == "read_at":
            self.reads -= 1
        if self.reads < 0:
            super()._perhaps(call, name)


@pytest.mark.parametrize("reads", [1, 2, 3, 4, 5])
def test_a_torch_save_file_may_stop_to_answer_at_any_read(tmp_path: Path, reads: int) -> None:
    path, files = saved_as("torch_save", tmp_path), DeadLater("made", reads)
    wanted = ConvertSettings(to=tmp_path / "out", format="safetensors")
    try:
        with contextlib.suppress(CheckpointError):
            convert_checkpoint(path, wanted, stall_s=0.3, files=files)
    finally:
        files.back.set()
    assert (tmp_path / "out").exists() == (files.reads >= 0)


def test_a_program_with_a_read_that_never_ends_can_still_exit(tmp_path: Path) -> None:
    save({"w": filled(50)}, tmp_path)
    program = """
import sys, threading, torch
from millrace.checkpoint.convert import convert_checkpoint
from millrace.checkpoint.engine.vector_io import PosixFiles
from millrace.checkpoint.reader import ParallelFileSystemReader
from tests.checkpoint.saved_checkpoints import load
class Dead(PosixFiles):
    def read_at(self, *_):
        threading.Event().wait()
try:
    load({"w": torch.zeros(50)}, ParallelFileSystemReader(sys.argv[1], files=Dead(), stall_s=0.3, verify="crc"))
except BaseException as error:
    print("no answer for" in str(error))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
    )
    assert done.stdout == "True\n", done.stderr[-1000:]


class Slow(PosixFiles):
    """Answers late, but answers."""

    def read_vector(self, handle: int, ranges: array[int], start: int, count: int, offset: int) -> int:
        time.sleep(0.1)
        few = array("Q", (ranges[2 * start], min(ranges[2 * start + 1], 100_000)))
        return super().read_vector(handle, few, 0, 1, offset)


def test_a_slow_server_that_answers_is_waited_for(tmp_path: Path) -> None:
    state = {f"w{number}": filled(20_000, seed=number) for number in range(12)}
    save(state, tmp_path)
    targets = {name: torch.zeros(20_000) for name in state}
    load(targets, ParallelFileSystemReader(tmp_path, files=Slow(), stall_s=5.0, threads=2))
    assert all(same(targets[name], one) for name, one in state.items())


@pytest.mark.parametrize("how", ["context", "default"])
def test_a_default_device_does_not_change_where_bytes_are_staged(tmp_path: Path, how: str) -> None:
    state = {"cast": filled(300, 20), "columns": filled(64, 64), "conj": torch.ones(4, dtype=torch.complex64).conj(), "step": 7}
    save(state, tmp_path / "c")
    write_items(tmp_path / "views", [(f"row{number}", filled(4, 30)[number], None) for number in range(4)])
    targets: dict[str, Any] = {
        "cast": torch.zeros(300, 20).double(),
        "columns": torch.zeros(64, 64).t(),
        "conj": torch.zeros(4, dtype=torch.complex64),
        "step": 0,
    }
    rows: dict[str, Any] = {f"row{number}": torch.zeros(30).half() for number in range(4)}
    try:
        if how == "default":
            torch.set_default_device("meta")
        with torch.device("meta" if how == "context" else "cpu") if how == "context" else torch.no_grad():
            load(targets, ParallelFileSystemReader(tmp_path / "c"))
            load(rows, ParallelFileSystemReader(tmp_path / "views", verify="crc"))
    finally:
        torch.set_default_device(None)
    assert same(targets["cast"], state["cast"].double())
    assert same(targets["columns"], state["columns"])
    assert same(targets["conj"], state["conj"].resolve_conj())
    assert targets["step"] == 7
    assert all(same(rows[f"row{number}"], filled(4, 30)[number].half()) for number in range(4))
