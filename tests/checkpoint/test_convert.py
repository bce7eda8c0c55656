"""Every format converts into every other one, in bounded memory, all or nothing; what is damaged is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

from millrace.checkpoint import convert
from millrace.checkpoint.convert import convert_checkpoint
from millrace.checkpoint.problems import CheckpointError
from millrace.checkpoint.reader import ParallelFileSystemReader
from millrace.checkpoint.seal import SEAL_NAME
from millrace.checkpoint.settings import ConvertSettings
from millrace.checkpoint.verify import parts_of, seal_checkpoint, verify_file
from millrace.errors import InputError, RunFailed, UsageError
from tests.checkpoint.saved_checkpoints import CutTensor, cause_of, filled, load, same, save

TENSORS = {
    "model.a": filled(40, 300),
    "model.b": filled(7, dtype=torch.bfloat16),
    "model.c": torch.tensor(2.5),
    "model.d": filled(0, 4),
    "model.e": filled(3, 5, 700, dtype=torch.float8_e4m3fn),
    "model.f": filled(9, dtype=torch.int64),
}
NESTED = {"model": {name.removeprefix("model."): one for name, one in TENSORS.items()}}


def source(form: str, folder: Path, *, objects: bool) -> Path:
    extra = {"step": 5} if objects else {}
    if form == "dcp":
        whole = {**NESTED["model"], "a": CutTensor.of(TENSORS["model.a"], [((0, 0), (15, 300)), ((15, 0), (25, 300))])}
        return save({"model": whole, **extra}, folder / "source", thread_count=2)
    if form == "torch_save":
        torch.save({**NESTED, **extra}, folder / "source.pt")
        return folder / "source.pt"
    convert_checkpoint(save(dict(TENSORS), folder / "first"), ConvertSettings(to=folder / "source", max_file_gb=1e-5))
    return folder / "source"


def loaded(path: Path, form: str) -> dict[str, torch.Tensor]:
    if form == "torch_save":
        state = torch.load(path, weights_only=True)
        return {f"model.{name}": one for name, one in state["model"].items()} if "model" in state else state
    metadata = ParallelFileSystemReader(path).read_metadata()
    blank = {
        name: torch.zeros(one.size, dtype=one.properties.dtype)
        for name, one in metadata.state_dict_metadata.items()
        if name in TENSORS
    }
    reader = dcp.FileSystemReader(path) if form == "dcp" else ParallelFileSystemReader(path)
    return load(blank, reader, planner=dcp.DefaultLoadPlanner(flatten_state_dict=False))


@pytest.mark.parametrize("form", ["dcp", "safetensors", "torch_save"])
@pytest.mark.parametrize("to", ["dcp", "safetensors", "torch_save"])
def test_every_format_becomes_every_other_bit_for_bit(tmp_path: Path, form: str, to: Any) -> None:
    settings = ConvertSettings(to=tmp_path / "result", format=to, shards=3, max_file_gb=2e-5, objects="drop")
    done = convert_checkpoint(source(form, tmp_path, objects=form != "safetensors"), settings)
    result = loaded(tmp_path / "result", to)
    assert result.keys() == TENSORS.keys()
    assert all(same(result[name], one) for name, one in TENSORS.items())
    assert done.tensors == len(TENSORS)
    assert done.dropped == (["step"] if to == "safetensors" and form != "safetensors" else [])
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def test_nested_values_survive_the_way_from_dcp_to_torch_save_and_back(tmp_path: Path) -> None:
    first = source("dcp", tmp_path, objects=True)
    convert_checkpoint(first, ConvertSettings(to=tmp_path / "one.pt", format="torch_save"))
    state = torch.load(tmp_path / "one.pt", weights_only=True)
    assert state["step"] == 5
    assert same(state["model"]["a"], TENSORS["model.a"])
    convert_checkpoint(tmp_path / "one.pt", ConvertSettings(to=tmp_path / "back", format="dcp"))
    target = {"model": {name: torch.zeros_like(one) for name, one in NESTED["model"].items()}, "step": 0}
    load(target, dcp.FileSystemReader(tmp_path / "back"))
    assert target["step"] == 5
    assert all(same(target["model"][name], one) for name, one in NESTED["model"].items())


def test_casting_touches_floating_point_only(tmp_path: Path) -> None:
    whole = torch.randn(30, 20)
    path = save({"w": whole, "n": filled(5, dtype=torch.int32)}, tmp_path / "source")
    convert_checkpoint(path, ConvertSettings(to=tmp_path / "out", dtype="bfloat16"))
    metadata = ParallelFileSystemReader(tmp_path / "out").read_metadata().state_dict_metadata
    assert metadata["n"].properties.dtype == torch.int32
    target = load({"w": torch.zeros(30, 20, dtype=torch.bfloat16)}, ParallelFileSystemReader(tmp_path / "out"))
    assert same(target["w"], whole.bfloat16())


def test_resharding_writes_a_file_per_shard_that_stock_reads(tmp_path: Path) -> None:
    path = save({"w": filled(10, 6), "one": filled(1, 2)}, tmp_path / "source")
    convert_checkpoint(path, ConvertSettings(to=tmp_path / "out", format="dcp", shards=4))
    assert len(list((tmp_path / "out").glob("*.distcp"))) == 4
    metadata = ParallelFileSystemReader(tmp_path / "out").read_metadata()
    assert [chunk.sizes[0] for chunk in metadata.state_dict_metadata["w"].chunks] == [3, 3, 3, 1]
    target = load({"w": torch.zeros(10, 6), "one": torch.zeros(1, 2)}, dcp.FileSystemReader(tmp_path / "out"))
    assert same(target["w"], filled(10, 6))
    assert same(target["one"], filled(1, 2))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_what_the_format_cannot_hold_is_refused_unless_dropped(tmp_path: Path) -> None:
    path = save({"w": filled(4), "step": 5}, tmp_path / "source")
    with pytest.raises(InputError, match="step"):
        convert_checkpoint(path, ConvertSettings(to=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="complex128"):
        convert_checkpoint(save({"c": filled(4, dtype=torch.complex128)}, tmp_path / "c"), ConvertSettings(to=tmp_path / "out"))
    with pytest.raises(UsageError, match="exists already"):
        convert_checkpoint(path, ConvertSettings(to=path))
    with pytest.raises(UsageError, match="destination"):
        convert_checkpoint(path, ConvertSettings())
    with pytest.raises(CheckpointError, match="not a torch"):
        convert_checkpoint(path / ".metadata", ConvertSettings(to=tmp_path / "out"))


def test_a_conversion_that_fails_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    path = save({f"w{index}": filled(1000, seed=index) for index in range(5)}, tmp_path / "source")
    data = next(path.glob("*.distcp"))
    data.write_bytes(data.read_bytes()[:-9000])
    with pytest.raises(CheckpointError):
        convert_checkpoint(path, ConvertSettings(to=tmp_path / "out", objects="drop"))
    assert [one.name for one in tmp_path.iterdir()] == ["source"]


LIMITED = """
import resource, sys
from pathlib import Path
from millrace.checkpoint.convert import convert_checkpoint
from millrace.checkpoint.settings import ConvertSettings
import torch
torch.set_num_threads(1)
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (int(sys.argv[4]) << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    torch.empty(int(sys.argv[5]), dtype=torch.uint8).fill_(1)
except RuntimeError:
    print("too large for memory")
convert_checkpoint(Path(sys.argv[1]), ConvertSettings(to=Path(sys.argv[2]), format=sys.argv[3], piece_mb=8), threads=1)
"""


@pytest.mark.parametrize("to", ["dcp", "safetensors", "torch_save"])
def test_a_checkpoint_larger_than_the_memory_limit_is_converted(tmp_path: Path, to: str) -> None:
    nbytes = 256 << 20
    state = {"big": torch.arange(nbytes // 2 // 4, dtype=torch.int32).view(-1, 1024), "rest": torch.ones(nbytes // 2 // 4)}
    path = save(state, tmp_path / "source")
    program = [sys.executable, "-c", LIMITED, str(path), str(tmp_path / "out"), to, "144", str(nbytes)]
    # the limit is on addresses, of which glibc reserves 64 MiB and more for each thread's own arena without using them
    own = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=own)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "too large for memory\n"
    target = {name: torch.zeros_like(one) for name, one in state.items()}
    if to == "torch_save":
        target = torch.load(tmp_path / "out", mmap=True, weights_only=True)
    else:
        load(target, ParallelFileSystemReader(tmp_path / "out"))
    assert all(torch.equal(target[name], one) for name, one in state.items())


def problems_of(path: Path) -> list[Any]:
    parts, problems = parts_of(path)
    return problems + [problem for part in parts for problem in verify_file(part, 1).problems]


@pytest.mark.parametrize("form", ["dcp", "safetensors"])
def test_verify_finds_nothing_wrong_with_a_whole_checkpoint(tmp_path: Path, form: str) -> None:
    assert problems_of(source(form, tmp_path, objects=True)) == []


def test_verify_finds_a_flipped_byte_anywhere_in_a_payload_and_names_the_tensor(tmp_path: Path) -> None:
    path = source("dcp", tmp_path, objects=True)
    places = ParallelFileSystemReader(path).read_metadata().storage_data
    for index, info in places.items():
        if index.fqn == "model.d":
            continue
        file = path / info.relative_path
        whole = file.read_bytes()
        damaged = bytearray(whole)
        damaged[info.offset + (64 if index.fqn == "step" else 704)] ^= 16
        file.write_bytes(damaged)
        found = problems_of(path)
        assert [problem.tensor for problem in found] == [index.fqn], found
        file.write_bytes(whole)


def test_verify_names_missing_files_short_files_and_holes(tmp_path: Path) -> None:
    path = source("dcp", tmp_path, objects=False)
    first, second = sorted(path.glob("*.distcp"))
    first.write_bytes(first.read_bytes()[:1500])
    second.unlink()
    found = problems_of(path)
    assert {problem.file for problem in found} == {first.name, second.name}
    assert any("missing" in problem.what for problem in found)
    assert any("ends at byte 1500" in problem.what for problem in found)


def sealed(path: Path) -> Path:
    parts, _ = parts_of(path)
    seal_checkpoint(path, [verify_file(part) for part in parts])
    return path


def test_a_seal_notices_exchanged_files_of_equal_shapes(tmp_path: Path) -> None:
    path = save({"a": filled(30, 30), "b": filled(30, 30, seed=1)}, tmp_path / "c", thread_count=2)
    first, second = sorted(path.glob("*.distcp"))

    def exchange() -> None:
        one, other = first.read_bytes(), second.read_bytes()
        first.write_bytes(other)
        second.write_bytes(one)

    target = {"a": torch.zeros(30, 30), "b": torch.zeros(30, 30)}
    exchange()
    load(dict(target), ParallelFileSystemReader(path, verify="crc"))
    assert same(target["a"], filled(30, 30, seed=1)), "without a seal this can't be noticed: the format has nothing to tell it by"
    exchange()
    sealed(path)
    load(dict(target), ParallelFileSystemReader(path, verify="crc"))
    assert same(target["a"], filled(30, 30))
    exchange()
    with pytest.raises(dcp.api.CheckpointException) as caught:
        load(dict(target), ParallelFileSystemReader(path, verify="crc"))
    error = cause_of(caught.value)
    assert isinstance(error, CheckpointError)
    assert {problem.tensor for problem in error.problems} == {"a", "b"}
    assert {problem.tensor for problem in problems_of(path)} == {"a", "b"}


def test_a_seal_notices_other_metadata_and_its_own_damage(tmp_path: Path) -> None:
    path = sealed(save({"a": filled(30)}, tmp_path / "c"))
    (path / ".metadata").write_bytes((path / ".metadata").read_bytes() + b"\0")
    assert [problem.file for problem in problems_of(path)] == [".metadata"]
    (path / SEAL_NAME).write_text(json.dumps({"schema": "else"}))
    with pytest.raises(CheckpointError, match="damaged"):
        problems_of(path)


def test_safetensors_under_crc_want_a_seal(tmp_path: Path) -> None:
    path = source("safetensors", tmp_path, objects=False)
    target = {"model.a": torch.zeros(40, 300)}
    with pytest.raises(dcp.api.CheckpointException, match="no CRC is stored"):
        load(target, ParallelFileSystemReader(path, verify="crc"))
    sealed(path)
    assert same(load(target, ParallelFileSystemReader(path, verify="crc"))["model.a"], TENSORS["model.a"])


@pytest.mark.parametrize("to", ["dcp", "safetensors", "torch_save"])
@pytest.mark.parametrize("kind", ["dcp", "torch_save"])
def test_a_damaged_source_is_refused_and_nothing_is_written(tmp_path: Path, kind: str, to: str) -> None:
    path = source(kind, tmp_path, objects=False)
    file = path if path.is_file() else sorted(path.glob("*.distcp"))[0]
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 8
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match="CRC") as caught:
        convert_checkpoint(path, ConvertSettings(to=tmp_path / "out", format=to))
    assert "convert.check=size" in str(caught.value)
    assert not (tmp_path / "out").exists()
    convert_checkpoint(path, ConvertSettings(to=tmp_path / "out", format=to, check="size"))
    assert (tmp_path / "out").exists()


@pytest.mark.parametrize("to", ["dcp", "safetensors", "torch_save"])
def test_a_result_that_does_not_read_as_it_was_written_is_not_kept(
    tmp_path: Path, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = source("dcp", tmp_path, objects=False)
    real = convert.check_output

    def after_damage(place: Path, *rest: Any) -> None:
        file = place if place.is_file() else max(place.rglob("*"), key=lambda one: one.stat().st_size)
        data = bytearray(file.read_bytes())
        at = data.index(TENSORS["model.a"].numpy().tobytes()[:64])
        data[at + 9] ^= 1
        file.write_bytes(data)
        real(place, *rest)

    monkeypatch.setattr(convert, "check_output", after_damage)
    with pytest.raises(RunFailed, match="does not read as it was written"):
        convert_checkpoint(path, ConvertSettings(to=tmp_path / "out", format=to))
    assert not (tmp_path / "out").exists()
    assert [one.name for one in tmp_path.iterdir() if "tmp" in one.name] == []


def test_the_sums_in_a_converted_file_are_those_of_its_data(tmp_path: Path) -> None:
    convert_checkpoint(source("dcp", tmp_path, objects=True), ConvertSettings(to=tmp_path / "out.pt", format="torch_save"))
    with zipfile.ZipFile(tmp_path / "out.pt") as archive:
        assert archive.testzip() is None
