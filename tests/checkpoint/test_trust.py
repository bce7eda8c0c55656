"""A checkpoint is data: neither its metadata nor its items can run code."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex

from millrace.checkpoint.formats.byte_items import _CALLING, refusal
from millrace.checkpoint.formats.dcp_metadata import read_metadata
from millrace.checkpoint.problems import CheckpointError, UntrustedCheckpoint
from millrace.checkpoint.reader import ParallelFileSystemReader
from tests.checkpoint.saved_checkpoints import cause_of, filled, load, same, save


class RunsACommand:
    """Pickles to a call of os.system."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.marker}'",)


ATTACKS = {
    "os.system": b"cposix\nsystem\n(Vtouch MARK\ntR.",
    "builtins.eval": b"cbuiltins\neval\n(Vopen('MARK','w')\ntR.",
    "getattr": b"cbuiltins\ngetattr\n(cposix\nsystem\nVx\ntR.",
    "stack global": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
    "torch.load": b"ctorch\nload\n(VMARK\ntR.",
    "a dotted name": b"\x80\x04\x8c\x05torch\x8c\x08hub.load\x93.",
    "numpy": b"cnumpy\nload\n(VMARK\ntR.",
    "functools.partial": b"cfunctools\npartial\n(cposix\nsystem\nVtouch MARK\ntR.",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_malicious_metadata_is_refused_and_nothing_runs(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "ran"
    folder = save({"a": filled(3)}, tmp_path / "ckpt")
    (folder / ".metadata").write_bytes(ATTACKS[name].replace(b"MARK", str(marker).encode()))
    with pytest.raises(UntrustedCheckpoint, match="refused"):
        ParallelFileSystemReader(folder).read_metadata()
    with pytest.raises(dcp.api.CheckpointException, match="refused"):
        load({"a": torch.zeros(3)}, ParallelFileSystemReader(folder))
    assert not marker.exists()


def test_the_attack_would_work_on_an_unrestricted_unpickler(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(RunsACommand(marker)))
    assert marker.exists()


def test_a_command_hidden_in_planner_data_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    folder = save({"a": filled(3)}, tmp_path / "ckpt")
    metadata = ParallelFileSystemReader(folder).read_metadata()
    metadata.planner_data = {"a": RunsACommand(marker)}
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(UntrustedCheckpoint, match="system"):
        ParallelFileSystemReader(folder).read_metadata()
    assert not marker.exists()


def test_a_pickle_cannot_change_the_classes_it_names() -> None:
    before = dict(vars(MetadataIndex))
    home = b"torch.distributed.checkpoint.metadata"
    attack = b"c" + home + b"\nMetadataIndex\n(N}Vfqn2\nc" + home + b"\nMetadata\nstb."
    with pytest.raises(CheckpointError, match="change the class MetadataIndex"):
        read_metadata(io.BytesIO(attack), where="here")
    assert dict(vars(MetadataIndex)) == before


def test_a_pickle_of_something_else_is_not_taken_for_metadata() -> None:
    for value in ({}, [1], "x", None, torch.float32):
        with pytest.raises(CheckpointError):
            read_metadata(io.BytesIO(pickle.dumps(value)), where="here")
    with pytest.raises(CheckpointError, match="does not say where"):
        read_metadata(io.BytesIO(pickle.dumps(Metadata({}))), where="here")


def test_metadata_cut_or_flipped_anywhere_raises_our_error_or_loads_in_little_memory(tmp_path: Path) -> None:
    """Every cut and every flipped bit; some of them turn an opcode into one that asks for gigabytes."""
    save({"a": filled(3), "b": {"c": filled(2, 2), "d": 5}}, tmp_path)
    whole = (tmp_path / ".metadata").read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for at in range(len(whole)):
        for damaged in (whole[:at], *(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :] for bit in range(8))):
            try:
                read_metadata(io.BytesIO(damaged), where="here")
            except CheckpointError:
                refused += 1
    assert refused > len(whole)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB


GREEDY = {
    "long binput": b"\x80\x04Nr\xff\xff\xff\x7f.",
    "put": b"Np4000000000\n.",
    "put with a sign": b"Np+4000000000\n.",
    "put with underscores": b"Np4_000_000_000\n.",
    "put with a null": b"Np4000000000\0x\n.",
    "put with zeros": b"Np" + b"0" * 4100 + b"4000000000\n.",
    "after a string": b"\x80\x04\x8c\x03abc\x94Nr\xff\xff\xff\x70.",
    "after lines": b"Vabc\nVd\nr\x00\x00\x00\x60.",
    "bytes": b"\x80\x04\x8e\x00\x00\x00\x00\x10\x00\x00\x00N.",
    "bytearray": b"\x80\x05\x96\x00\x00\x00\x00\x10\x00\x00\x00N.",
}


@pytest.mark.parametrize("name", GREEDY)
def test_a_pickle_that_asks_for_gigabytes_is_refused_before_it_gets_them(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"damaged: .*in a pickle of"):
        read_metadata(io.BytesIO(GREEDY[name]), where="here")


def test_a_class_of_ones_own_can_be_allowed(tmp_path: Path) -> None:
    folder = save({"a": filled(3)}, tmp_path)
    metadata = ParallelFileSystemReader(folder).read_metadata()
    metadata.planner_data = {"a": Harmless()}
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(UntrustedCheckpoint, match="Harmless"):
        ParallelFileSystemReader(folder).read_metadata()
    assert type(ParallelFileSystemReader(folder, allow_globals=(Harmless,)).read_metadata().planner_data["a"]) is Harmless


class Harmless:
    """Something a planner keeps in `planner_data`."""


def test_a_byte_item_that_runs_code_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    folder = save({"a": filled(3), "evil": RunsACommand(marker)}, tmp_path / "ckpt")
    marker.unlink(missing_ok=True)
    state = {"a": torch.full((3,), 7.0), "evil": None}
    with pytest.raises(dcp.api.CheckpointException) as caught:
        load(state, ParallelFileSystemReader(folder))
    error = cause_of(caught.value)
    assert isinstance(error, CheckpointError)
    assert [problem.tensor for problem in error.problems] == ["evil"]
    assert "refused" in str(error)
    assert (state["a"] == 7).all()
    assert not marker.exists()
    load(state, ParallelFileSystemReader(folder, byte_items="trusted"))
    assert marker.exists()
    assert same(state["a"], filled(3))


def saved_bytes(value: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    "value", [5, "text", None, {"a": [1, 2.5, (True,)]}, {1, 2}, torch.ones(3), b"bytes", {"t": torch.zeros(2)}]
)
def test_plain_byte_items_pass(value: Any) -> None:
    assert refusal(saved_bytes(value)) is None
    assert refusal(saved_bytes(value, _use_new_zipfile_serialization=False)) is None


@pytest.mark.filterwarnings("ignore:`torch.jit", "ignore:Detected pickle protocol")
def test_hostile_or_damaged_byte_items_are_refused(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    good = saved_bytes({"a": 1})
    script = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), script)
    for data in (
        saved_bytes(RunsACommand(marker)),
        saved_bytes(RunsACommand(marker), _use_new_zipfile_serialization=False),
        pickle.dumps(RunsACommand(marker)),
        good[:-30],
        b"",
        b"PK\x03\x04",
        script.getvalue(),
    ):
        assert refusal(data) is not None
    assert not marker.exists()


def test_opcodes_that_can_call_something_are_a_subset_of_the_known_ones() -> None:
    words = {"GLOBAL", "INST", "OBJ", "NEWOBJ", "REDUCE", "BUILD", "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4"}
    known = {opcode.name for opcode in pickletools.opcodes}
    calling = {name for name in known if name in words or name.endswith(("_GLOBAL", "OBJ_EX"))}
    assert calling == _CALLING
