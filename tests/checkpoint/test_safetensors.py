"""Safetensors files, written by torch with the format's own library, load through the same engine.

`written_by_torch/` holds a few KB that `FileSystemWriter(serialization_format=SAFETENSORS)` and `HuggingFaceStorageWriter` of
torch 2.13 wrote with safetensors 0.8: that library is not needed to run the tests.
"""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.checkpoint.formats.safetensors_format import DTYPES, SafetensorsError, build_header, header_length, parse_header
from millrace.checkpoint.problems import CheckpointError
from millrace.checkpoint.reader import ParallelFileSystemReader
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
        assert all(one.nbytes == filled(*one.sizes, dtype=one.dtype).nbytes for one in header.tensors.values())
