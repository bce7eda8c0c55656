"""Safetensors files, written by torch with the format's own library, load through the same engine.

`written_by_torch/` holds a few KB that `FileSystemWriter(serialization_format=SAFETENSORS)` and `HuggingFaceStorageWriter` of
torch 2.13 wrote with safetensors 0.8: that library is not needed to run the tests.
"""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.checkpoint.convert import convert_checkpoint
from millrace.checkpoint.formats.safetensors_folder import INDEX_NAME
from millrace.checkpoint.formats.safetensors_format import DTYPES, SafetensorsError, build_header, header_length, parse_header
from millrace.checkpoint.problems import CheckpointError
from millrace.checkpoint.reader import ParallelFileSystemReader
from millrace.checkpoint.settings import ConvertSettings
from millrace.checkpoint.verify import parts_of, verify_file
from tests.checkpoint.saved_checkpoints import filled, load, same

WRITTEN = Path(__file__).parent / "written_by_torch"
SAVED = {
    "a": torch.arange(60.0).view(10, 6),
    "b": torch.arange(7, dtype=torch.int16),
    "c": torch.tensor(2.5, dtype=torch.bfloat16),
}


def blank(*names: str) -> dict[str, torch.Tensor]:
    return {name: torch.zeros_like(SAVED[name]) for name in names}


def test_the_safetensors_serialization_of_dcp_loads(tmp_path: Path) -> None:
    reader = ParallelFileSystemReader(WRITTEN / "dcp_safetensors")
    state = load({**blank("a", "b", "c"), "step": 0}, reader)
    assert state["step"] == 5
    assert all(same(state[name], one) for name, one in SAVED.items())
    assert reader.metrics.stock_items == 0


def test_a_hugging_face_folder_loads_by_its_index() -> None:
    state = load(blank("a", "b", "c"), ParallelFileSystemReader(WRITTEN / "huggingface"))
    assert all(same(state[name], one) for name, one in SAVED.items())


def test_shards_with_offsets_become_one_tensor_again() -> None:
    state = load(blank("a", "b"), ParallelFileSystemReader(WRITTEN / "sharded"))
    assert same(state["a"], SAVED["a"])
    assert same(state["b"], SAVED["b"])


@pytest.mark.parametrize("damage", ["missing", "short", "header", "overlap"])
def test_damaged_folders_name_the_file(tmp_path: Path, damage: str) -> None:
    folder = Path(shutil.copytree(WRITTEN / "huggingface", tmp_path / "copy"))
    file = folder / "model-00002-of-00002.safetensors"
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "short":
        file.write_bytes(data[:-1])
    elif damage == "header":
        file.write_bytes(data[:30])
    else:
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        header["b"]["data_offsets"] = header["c"]["data_offsets"] = [0, 14]
        raw = json.dumps(header).encode()
        file.write_bytes(struct.pack("<Q", len(raw)) + raw + data[8 + length :])
    with pytest.raises(CheckpointError, match=file.name):
        ParallelFileSystemReader(folder).read_metadata()
    with pytest.raises(dcp.api.CheckpointException, match=file.name):
        load(blank("a"), ParallelFileSystemReader(folder))


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=20), st.tuples(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 9), max_size=4))
    )
)
def test_headers_come_back_as_they_were_built(tensors: dict[str, tuple[str, list[int]]]) -> None:
    tensors.pop("__metadata__", None)
    wanted = {name: (DTYPES[dtype], tuple(sizes)) for name, (dtype, sizes) in tensors.items()}
    raw = build_header(wanted, {"format": "pt"})
    assert len(raw) % 8 == 0
    assert header_length(raw[:8]) == len(raw) - 8
    found = parse_header(raw[8:])
    assert {name: (one.dtype, one.sizes) for name, one in found.tensors.items()} == wanted
    assert found.metadata == {"format": "pt"}


@settings(max_examples=300)
@given(st.binary(max_size=400), st.integers(0, 400), st.integers(0, 7))
def test_a_damaged_header_is_refused_or_read_within_its_bounds(noise: bytes, place: int, bit: int) -> None:
    raw = bytearray(build_header({"weights": (torch.float32, (3, 4)), "bias": (torch.int8, (5,))}, {})[8:])
    raw[place % len(raw)] ^= 1 << bit
    for data in (bytes(raw), noise, bytes(raw[:place])):
        try:
            header = parse_header(data)
        except SafetensorsError:
            continue
        known = [(one, one.dtype) for one in header.tensors.values() if one.dtype is not None]
        assert all(one.nbytes == filled(*one.sizes, dtype=dtype).nbytes for one, dtype in known)


def written(path: Path, header: dict[str, Any], data: bytes) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def two_tensors(path: Path, dtype: str = "F32") -> Path:
    header = {
        "a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
        "b": {"dtype": dtype, "shape": [4], "data_offsets": [12, 14 if dtype != "F32" else 28]},
    }
    return written(path, header, filled(3).numpy().tobytes() + bytes(2 if dtype != "F32" else 16))


def test_an_unknown_dtype_matters_only_to_who_asks_for_it(tmp_path: Path) -> None:
    two_tensors(tmp_path / "model.safetensors", "F4_OF_TOMORROW")
    assert same(load({"a": torch.zeros(3)}, ParallelFileSystemReader(tmp_path))["a"], filled(3))
    with pytest.raises(dcp.api.CheckpointException, match="'F4_OF_TOMORROW' is unknown"):
        load({"b": torch.zeros(4)}, ParallelFileSystemReader(tmp_path))
    parts, problems = parts_of(tmp_path)
    assert problems + [problem for part in parts for problem in verify_file(part).problems] == []


def test_bytes_after_the_tensors_are_not_called_whole(tmp_path: Path) -> None:
    path = two_tensors(tmp_path / "model.safetensors")
    path.write_bytes(path.read_bytes() + b"\0" * 5)
    with pytest.raises(CheckpointError, match="5 bytes follow its tensors"):
        ParallelFileSystemReader(tmp_path).read_metadata()


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/../../x", "..\\x", 5, None])
def test_an_index_that_names_a_file_outside_is_refused(tmp_path: Path, name: Any) -> None:
    two_tensors(tmp_path / "model.safetensors")
    (tmp_path / "c").mkdir()
    (tmp_path / "c/model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(CheckpointError, match=r"outside the checkpoint|damaged"):
        ParallelFileSystemReader(tmp_path / "c").read_metadata()


@pytest.mark.parametrize("verify", ["none", "size"])
def test_a_single_file_is_a_checkpoint_too(tmp_path: Path, verify: Any) -> None:
    path = two_tensors(tmp_path / "one.safetensors")
    two_tensors(tmp_path / "another.safetensors")
    assert same(load({"a": torch.zeros(3)}, ParallelFileSystemReader(path, verify=verify))["a"], filled(3))
    parts, problems = parts_of(path)
    assert [part.name for part in parts] == ["one.safetensors"]
    assert problems + [problem for part in parts for problem in verify_file(part).problems] == []
    done = convert_checkpoint(path, ConvertSettings(to=tmp_path / "out", format="dcp"))
    assert done.tensors == 2
    assert same(load({"a": torch.zeros(3)}, dcp.FileSystemReader(tmp_path / "out"))["a"], filled(3))


@pytest.mark.parametrize("index", [False, True])
def test_a_folder_of_them_behind_a_url_loads(tmp_path: Path, index: bool) -> None:
    two_tensors(tmp_path / "model.safetensors")
    system, place = fsspec.filesystem("memory"), f"memory://{tmp_path.name}{index}"
    system.pipe_file(f"{place}/model.safetensors", (tmp_path / "model.safetensors").read_bytes())
    if index:
        system.pipe_file(f"{place}/{INDEX_NAME}", json.dumps({"weight_map": {"a": "model.safetensors"}}).encode())
    assert ParallelFileSystemReader.validate_checkpoint_id(place)
    assert same(load({"a": torch.zeros(3)}, ParallelFileSystemReader(place))["a"], filled(3))
