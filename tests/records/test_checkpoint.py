"""The records of the checkpoint domain: the bytes that earlier versions wrote, and back."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from millrace.checkpoint.engine.place import Place
from millrace.checkpoint.engine.stalls import Watch
from millrace.checkpoint.problems import CheckpointError
from millrace.checkpoint.seal import SEAL_NAME, Seal, read_seal, write_seal
from millrace.records.checkpoint import Problem
from millrace.run.journal import read_records, write_jsonl

LINES = (
    b'{"what":"the file is missing","file":"__0_0.distcp","tensor":"","offset":null}\n'
    b'{"what":"CRC mismatch","file":"a","tensor":"w","offset":4096}\n'
)
SEALED = b'{\n  "schema": "millrace.seal/1",\n  "metadata_sha256": "ab",\n  "sums": {\n    "f": {\n      "64": 7\n    }\n  }\n}\n'


def test_a_line_about_damage_has_the_bytes_it_had_and_comes_back(tmp_path: Path) -> None:
    problems = [Problem("the file is missing", "__0_0.distcp"), Problem("CRC mismatch", "a", "w", 4096)]
    write_jsonl(tmp_path / "problems.jsonl", problems)
    assert (tmp_path / "problems.jsonl").read_bytes() == LINES
    assert list(read_records(tmp_path / "problems.jsonl", Problem)) == problems
    assert pickle.loads(pickle.dumps(CheckpointError("here", problems))).problems == tuple(problems)


def test_a_seal_has_the_bytes_it_had_and_comes_back(tmp_path: Path) -> None:
    seal = Seal("ab")
    seal.add("f", 64, 7)
    assert write_seal(tmp_path, seal).read_bytes() == SEALED
    assert read_seal(Place(tmp_path), Watch(None)) == seal


@pytest.mark.parametrize(
    "data",
    [
        SEALED.replace(b"seal/1", b"seal/2"),
        SEALED.replace(b": 7", b': "7"'),
        SEALED.replace(b'"f"', b"3"),
        b"[]",
        b"",
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_seal_of_another_shape_is_an_error_with_its_name(tmp_path: Path, data: bytes) -> None:
    (tmp_path / SEAL_NAME).write_bytes(data)
    with pytest.raises(CheckpointError, match=SEAL_NAME.replace(".", r"\.")):
        read_seal(Place(tmp_path), Watch(None))
