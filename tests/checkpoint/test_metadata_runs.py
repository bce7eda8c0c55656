"""Long runs of equal records in a `.metadata` are taken whole, with what the unpickler makes of them."""

from __future__ import annotations

import io
import pickle
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from millrace.checkpoint.formats.dcp_metadata import read_metadata
from millrace.checkpoint.formats.metadata_pickle import MetadataMachine
from millrace.checkpoint.formats.pickle_machine import PickleMachine
from millrace.checkpoint.problems import CheckpointError


def written(tensors: int, parts: int, *, shared: bool, name: str = "layers.{}.w", file: str = "__{}_0.distcp") -> Metadata:
    """A metadata of cut tensors; `shared`: one object for one text or shape, as one rank writes, or each its own."""
    described: dict[str, Any] = {}
    places: dict[Any, Any] = {}
    files = [file.format(part) for part in range(parts)]
    for number in range(tensors):
        key = name.format(number)
        lows = [torch.Size((300 * part, 0)) for part in range(parts)]
        chunks = [ChunkStorageMetadata(low, torch.Size((300, 5))) for low in lows]
        described[key] = TensorStorageMetadata(TensorProperties(), torch.Size((300 * parts, 5)), chunks)
        for part, low in enumerate(lows):
            index = MetadataIndex(key, low if shared else torch.Size(tuple(low)), part)
            path = files[part] if shared else file.format(part)
            place = _StorageInfo(path, 900_000_000 * number, 70_000 + part)
            places[index if shared else pickle.loads(pickle.dumps(index))] = place
    return Metadata(described, {key: tuple(key.split(".")) for key in described}, places)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    ("name", "file"),
    [("layers.{}.w", "__{}_0.distcp"), ("слой.{}", "файл {}"), ("x" * 300 + "{}", "y" * 300 + "{}"), ("a\nb\x94{}", "{}\x94")],
)
def test_runs_are_read_as_the_unpickler_reads_them(protocol: int, shared: bool, name: str, file: str) -> None:
    real = written(40, 9, shared=shared, name=name, file=file)
    found = read_metadata(io.BytesIO(pickle.dumps(real, protocol)), where="here")
    assert found == real
    assert [(one, one.index) for one in found.storage_data] == [(one, one.index) for one in real.storage_data]


@pytest.mark.parametrize("shared", [True, False])
def test_a_run_is_taken_without_its_single_opcodes(monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    made: list[str] = []
    single = MetadataMachine.build
    monkeypatch.setattr(
        MetadataMachine, "build", lambda self, one, state: made.append(type(one).__name__) or single(self, one, state)
    )
    read_metadata(io.BytesIO(pickle.dumps(written(50, 8, shared=shared))), where="here")
    assert len(made) < 60, "a few at the beginning, where the names stand, and where a frame of the pickle begins"


DAMAGE = {
    "a file with a zero byte": (b"\x8c\x0e__3_0.distcp", b"\x8c\x0e__3_0\0distcp"),
    "a file's length": (b"\x8c\x0c__3_0.distcp", b"\x8c\x0b__3_0.distcp"),
    "a negative offset": (b"J\x00\xe9\xa45", b"J\x00\xe9\xa4\xb5"),
    "a part of another rank": (b"M,\x01K\x05\x86\x94", b"M,\x01\x85\x94NN"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_within_a_run_is_our_error(name: str) -> None:
    data = pickle.dumps(written(40, 9, shared=False))
    right, wrong = DAMAGE[name]
    assert right.replace(b"\x0e", b"\x0c") in data
    for nth in (1, 5, 30):
        at = -1
        for _ in range(nth):
            at = data.find(right.replace(b"\x0e", b"\x0c"), at + 1)
        if at >= 0:
            damaged = data[:at] + wrong.replace(b"\x0e", b"\x0c") + data[at + len(wrong) :]
            with pytest.raises(CheckpointError, match="damaged"):
                read_metadata(io.BytesIO(damaged), where="here")


def test_runs_with_bad_contents_take_no_longer_than_their_length_allows() -> None:
    """Each long run is good in form and bad at its end: found out a bounded number of times, not once for each of its units."""
    machine = MetadataMachine(pickle.dumps(written(300, 40, shared=False)).replace(b"__39_0.d", b"__39_0\0d"), {})
    machine.run()
    assert machine.missed <= 16


def test_what_the_memo_keeps_is_not_exchanged() -> None:
    with pytest.raises(ValueError, match="out of turn"):
        PickleMachine(b"\x80\x02K\x01q\x00K\x02q\x00.").run()
