"""A `.metadata` made to do harm costs its reader seconds and a few MiB at most, and is refused with our error."""

from __future__ import annotations

import io
import os
import pickle
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given, settings
from hypothesis import strategies as st
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
from millrace.checkpoint.problems import CheckpointError
from millrace.checkpoint.reader import ParallelFileSystemReader
from tests.checkpoint.saved_checkpoints import CutTensor, cause_of, filled, load, same, save

ROOT = Path(__file__).parents[2]
HOME = b"\x8c\x25torch.distributed.checkpoint.metadata"


def doubled(levels: int) -> bytes:
    """A tuple of itself twice, and that twice, …: two to the power of `levels` when it is hashed."""
    return b"\x80\x04)\x94" + b"".join(b"h%c" % index + b"h%c" % index + b"\x86\x94" for index in range(levels))


ATTACKS = {
    "a doubled tuple as a key": b"\x80\x04](" + doubled(40)[2:] + b"e}h\x28Ns.",
    "a doubled tuple in a set": b"\x80\x04](" + doubled(40)[2:] + b"e\x8f(h\x28\x90.",
    "a tuple nested half a million deep as a key": b"\x80\x04})" + b"\x85" * 500_000 + b"Ns.",
    "a million open marks": b"\x80\x04" + b"(" * 1_000_000 + b".",
    "a list nested a million deep": b"\x80\x04" + b"]" * 1_000_000 + b"a" * 999_999 + b".",
    "half a million sets": b"\x80\x04(" + b"\x8f" * 500_000 + b"t.",
    "one long list as a set again and again": b"\x80\x04c__builtin__\nset\n".replace(b"__builtin__", b"builtins")
    + b"\x94](" + b"K\x01" * 100_000 + b"e\x94" + b"(" + b"h\x00h\x01\x85R" * 60_000 + b"t.",
    "one long list as a size again and again": b"\x80\x04ctorch\nSize\n\x94](" + b"K\x01" * 50_000 + b"e\x94h\x00h\x01\x85R.",
    "keys of one hash": b"\x80\x04}(" + b"".join(
        b"\x8a\x0b" + (number * (2**61 - 1)).to_bytes(11, "little") + b"N" for number in range(60_000)
    ) + b"u.",
    "a path of a million parts": b"\x80\x04cpathlib\nPosixPath\n(" + b"\x8c\x01a" * 1_000_000 + b"tR.",
    "a number of a million digits": b"\x80\x04\x8b\x80\x84\x1e\x00" + b"\xff" * 2_000_000 + b".",
    "a state for a class": b"\x80\x04" + HOME + b"\x8c\x08Metadata\x93}b.",
}  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one process, with 256 MiB to spare, says of each attack."""
    folder = tmp_path_factory.mktemp("attacks")
    for number, attack in enumerate(ATTACKS.values()):
        (folder / str(number)).write_bytes(attack)
    return dict(zip(ATTACKS, in_a_child(folder, "attacks").splitlines(), strict=True))


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_on_time_or_memory_is_refused_in_seconds_and_in_256_mib(name: str, told: dict[str, str]) -> None:
    assert told[name].startswith("refused"), told[name]
    assert float(told[name].split()[1]) < 20


def test_a_metadata_whose_planner_data_doubles_is_refused(tmp_path: Path) -> None:
    folder = save({"a": filled(3)}, tmp_path / "doubled")
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    value: Any = ()
    for _ in range(60):
        value = (value, value)
    for planner_data in (value, {"a": value}, [value, value]):
        metadata.planner_data = planner_data
        (folder / ".metadata").write_bytes(pickle.dumps(metadata))
        with pytest.raises(CheckpointError, match="again and again"):
            ParallelFileSystemReader(folder).read_metadata()
    loop: list[Any] = []
    loop.append(loop)
    metadata.planner_data = loop
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(CheckpointError, match="nested too deep"):
        ParallelFileSystemReader(folder).read_metadata()


def test_one_list_of_parts_for_many_tensors_is_refused(tmp_path: Path) -> None:
    folder = save({"a": CutTensor.of(filled(40), [((low,), (1,)) for low in range(40)])}, tmp_path)
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    one = metadata.state_dict_metadata["a"]
    one.chunks *= 500
    metadata.state_dict_metadata = {f"a{number}": one for number in range(20_000)}
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(CheckpointError, match="the same parts"):
        ParallelFileSystemReader(folder).read_metadata()


FIELDS = {
    "relative_path": [None, 5, b"x", ["a"], "a\0b"],
    "offset": [None, "0", 1.5, True, -1, 2**70],
    "length": [None, "0", -3],
    "transform_descriptors": [5, [1], "zstd"],
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_place_with_a_field_of_another_type_is_our_error_and_can_be_printed(tmp_path: Path, field: str) -> None:
    folder = save({"a": filled(3)}, tmp_path)
    whole = (folder / ".metadata").read_bytes()
    for value in FIELDS[field]:
        metadata = pickle.loads(whole)
        for info in metadata.storage_data.values():
            setattr(info, field, value)
        (folder / ".metadata").write_bytes(pickle.dumps(metadata))
        if value is True:
            continue
        with pytest.raises(CheckpointError, match="damaged") as caught:
            ParallelFileSystemReader(folder).read_metadata()
        assert str(caught.value).encode()


def test_a_described_tensor_with_a_field_of_another_type_is_our_error(tmp_path: Path) -> None:
    folder = save({"a": filled(3)}, tmp_path)
    whole = (folder / ".metadata").read_bytes()
    for change in (
        lambda one: setattr(one, "size", (3,)),
        lambda one: setattr(one, "chunks", None),
        lambda one: setattr(one, "properties", None),
        lambda one: setattr(one.properties, "dtype", "float32"),
        lambda one: setattr(one.chunks[0], "sizes", torch.Size((3, 1))),
        lambda one: setattr(one.chunks[0], "offsets", None),
        lambda one: one.chunks.append("x"),
    ):
        metadata = pickle.loads(whole)
        change(metadata.state_dict_metadata["a"])
        (folder / ".metadata").write_bytes(pickle.dumps(metadata))
        with pytest.raises(CheckpointError, match="damaged"):
            ParallelFileSystemReader(folder).read_metadata()


def test_a_place_given_as_a_path_is_read_as_its_name(tmp_path: Path) -> None:
    folder = save({"a": filled(3)}, tmp_path)
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    for info in metadata.storage_data.values():
        info.relative_path = Path(info.relative_path)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    assert same(load({"a": torch.zeros(3)}, ParallelFileSystemReader(folder))["a"], filled(3))


@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp", ".millrace-seal.json"])
@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "folder"])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path, name: str, kind: str) -> None:
    folder = save({"a": filled(3)}, tmp_path / "c")
    place = folder / name
    place.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "device":
        place.symlink_to("/dev/zero")
    elif kind == "folder":
        place.mkdir()
    else:
        listener = socket.socket(socket.AF_UNIX)
        here = Path.cwd()
        os.chdir(folder)
        listener.bind(name)
        os.chdir(here)
    start = time.monotonic()
    with pytest.raises(BaseException, match="regular file"):
        load({"a": torch.zeros(3)}, ParallelFileSystemReader(folder, verify="crc"))
    assert time.monotonic() - start < 10


def test_parts_of_cut_tensors_are_read_as_the_unpickler_reads_them_and_as_wholes(monkeypatch: pytest.MonkeyPatch) -> None:
    described: dict[str, Any] = {}
    places: dict[Any, Any] = {}
    files = [f"__{rank}_0.distcp" for rank in range(300)]
    for number, (rank, parts) in enumerate([(0, 2), (1, 2), (2, 300), (3, 4), (5, 3)]):
        boxes = [((300 * part, *(7,) * (rank - 1))[:rank], (300, *(2,) * (rank - 1))[:rank]) for part in range(parts)]
        chunks = [ChunkStorageMetadata(torch.Size(low), torch.Size(sizes)) for low, sizes in boxes]
        described[f"w{number}"] = TensorStorageMetadata(TensorProperties(), torch.Size((9,) * rank), chunks)
        for part, (low, _) in enumerate(boxes):
            places[MetadataIndex(f"w{number}", torch.Size(low), part)] = _StorageInfo(files[part], 70_000 * part, 9)
    data = pickle.dumps(Metadata(described, {}, places))
    built: list[str] = []
    step_by_step = MetadataMachine.build
    monkeypatch.setattr(
        MetadataMachine, "build", lambda self, made, state: built.append(type(made).__name__) or step_by_step(self, made, state)
    )
    found = read_metadata(io.BytesIO(data), where="here")
    assert found == pickle.loads(data)
    assert built.count("ChunkStorageMetadata") <= 3, "only the first ones, which bring the names of their fields"


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_real_metadata_of_every_protocol_is_read_as_the_unpickler_reads_it(tmp_path: Path, protocol: int) -> None:
    state: dict[str, Any] = {f"layer{number}": {"w": filled(3, number + 1), "b": filled(2)} for number in range(300)}
    state |= {"scalar": torch.tensor(1.0), "step": 5, "five": torch.zeros(1, 2, 3, 1, 2), "large": torch.zeros(70_000)}
    state["cut"] = CutTensor.of(filled(40, 30), [((0, 0), (20, 30)), ((20, 0), (20, 30))])
    folder = save(state, tmp_path)
    real = pickle.loads((folder / ".metadata").read_bytes())
    assert read_metadata(io.BytesIO((folder / ".metadata").read_bytes()), where="x") == real
    again = read_metadata(io.BytesIO(pickle.dumps(real, protocol)), where="x")
    assert again == real
    assert [index.index for index in again.storage_data] == [index.index for index in real.storage_data]
    assert type(again) is Metadata


LONG = "x" * 300
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.sampled_from([2**70, LONG, LONG.encode()]),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner) | st.frozensets(st.integers()),
)


@settings(max_examples=200, deadline=None)
@given(value=PLAIN, protocol=st.sampled_from([4, 5]))
def test_plain_values_are_read_as_the_unpickler_reads_them(value: Any, protocol: int) -> None:
    assert MetadataMachine(pickle.dumps(value, protocol), {}).run() == value


def test_an_error_of_the_metadata_names_its_file_and_reason_through_a_load(tmp_path: Path) -> None:
    folder = save({"a": filled(3)}, tmp_path / "hostile")
    (folder / ".metadata").write_bytes(ATTACKS["a doubled tuple as a key"])
    (tmp_path / "empty").mkdir()
    for place, reason in (
        (folder, "a key that is a tuple"),
        (tmp_path / "empty", "holds no checkpoint"),
        (tmp_path / "x", "no such"),
    ):
        for planner in (None, Nosy()):
            with pytest.raises(dcp.api.CheckpointException, match=reason) as caught:
                load({"a": torch.zeros(3)}, ParallelFileSystemReader(place), planner=planner)
            error = cause_of(caught.value)
            assert isinstance(error, CheckpointError)
            assert [problem.file for problem in error.problems] == [".metadata"]
            assert reason in str(caught.value).strip().splitlines()[-1]


class Nosy(dcp.DefaultLoadPlanner):
    """Looks into the metadata before anybody else does."""

    def set_up_planner(self, state_dict: Any, metadata: Any = None, is_coordinator: bool = False) -> None:
        assert "a" in metadata.state_dict_metadata
        super().set_up_planner(state_dict, metadata, is_coordinator)


def test_five_hundred_pickles_from_a_grammar_cost_seconds_and_256_mib(tmp_path: Path) -> None:
    folder = save({"model": {f"w{number}": filled(3) for number in range(8)}, "step": 3}, tmp_path / "c")
    told = in_a_child(folder / ".metadata", "many")
    assert told.startswith("500 pickles, slowest "), told
    assert float(told.split()[3]) < 20


CHILD = r"""
import io, random, resource, sys, time
from pathlib import Path
from millrace.checkpoint.formats.dcp_metadata import read_metadata
from millrace.checkpoint.problems import CheckpointError

place = Path(sys.argv[1])
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (256 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

def attempt(pickle):
    start = time.thread_time()
    try:
        read_metadata(io.BytesIO(pickle), where="here")
        return "read", time.thread_time() - start
    except CheckpointError as error:
        str(error).encode()
        return "refused", time.thread_time() - start

NAMES = [b"torch.distributed.checkpoint.metadata\n" + name + b"\n" for name in (
    b"Metadata", b"MetadataIndex", b"ChunkStorageMetadata", b"TensorStorageMetadata", b"BytesStorageMetadata",
    b"TensorProperties", b"StorageMeta", b"_MEM_FORMAT_ENCODING")]
NAMES += [b"torch\nSize\n", b"torch\nfloat32\n", b"builtins\nset\n", b"builtins\nfrozenset\n", b"builtins\nlist\n",
          b"collections\nOrderedDict\n", b"pathlib\nPosixPath\n", b"torch.distributed.checkpoint.filesystem\n_StorageInfo\n",
          b"torch.serialization\n_get_layout\n", b"posix\nsystem\n", b"builtins\neval\n"]
WORDS = [b"state_dict_metadata", b"storage_data", b"planner_data", b"fqn", b"offset", b"size", b"chunks", b"a"]

def value(r, depth):
    kind = r.randrange(14) if depth else r.randrange(6)
    inner = lambda: value(r, depth - 1)
    many = r.choice([0, 1, 2, 3, 40])
    return (
        lambda: r.choice([b"N", b"\x88", b"K" + bytes([r.randrange(256)]), b")"]),
        lambda: b"\x8c" + bytes([len(word := r.choice(WORDS))]) + word + b"\x94",
        lambda: b"J" + r.randbytes(4),
        lambda: b"\x8a\x09" + r.randbytes(9),
        lambda: b"h" + bytes([r.randrange(12)]),
        lambda: b"c" + r.choice(NAMES) + b"\x94",
        lambda: b"(" + b"".join(inner() for _ in range(many)) + b"t\x94",
        lambda: b"]\x94(" + b"".join(inner() for _ in range(many)) + b"e",
        lambda: b"}\x94(" + b"".join(inner() for _ in range(2 * many)) + b"u",
        lambda: b"\x8f\x94(" + b"".join(inner() for _ in range(many)) + b"\x90",
        lambda: b"c" + r.choice(NAMES) + b"\x94(" + b"".join(inner() for _ in range(many % 4)) + b"tR\x94",
        lambda: b"c" + r.choice(NAMES) + b")\x81\x94" + inner() + b"b",
        lambda: b"h%ch%c\x86\x94" % (r.randrange(9), r.randrange(9)) * r.choice([1, 50, 20000]),
        lambda: repeated(inner(), r.choice([1, 2, 3000])),
    )[kind]()[: 1 << 18]

def repeated(data, count):
    return data * min(count, 1 + (1 << 18) // (len(data) + 1))

if sys.argv[2] == "attacks":
    for number in range(len(list(place.iterdir()))):
        print(*attempt((place / str(number)).read_bytes()))
else:
    data = place.read_bytes()
    slowest, r = 0.0, random.Random(5)
    for number in range(500):
        if number % 3:
            pickle = (b"\x80\x04" + value(r, r.randrange(1, 6)))[: 1 << 20] + b"."
        else:  # the real one, with something of the grammar in its middle
            at = r.randrange(len(data))
            pickle = data[:at] + value(r, 3)[: 1 << 20] + data[at + r.choice([0, 1, 2, 9]) :]
        slowest = max(slowest, attempt(pickle)[1])
    print("500 pickles, slowest", slowest)
"""


def in_a_child(path: Path, how: str) -> str:
    """What a process of its own, with 256 MiB to spare, says of a pickle."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), how],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
