"""Values beside the weights: data of all plain kinds loads as with torch, what asks for foreign code never runs unasked."""

from __future__ import annotations

import argparse
import array
import collections
import contextlib
import datetime
import decimal
import enum
import fractions
import io
import os
import pathlib
import pickle
import random
import signal
import time
import types
import uuid
import zipfile
import zoneinfo
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.checkpoint.convert import convert_checkpoint
from millrace.checkpoint.formats.allowed_classes import classes_named
from millrace.checkpoint.formats.byte_items import refusal
from millrace.checkpoint.problems import CheckpointError
from millrace.checkpoint.reader import ParallelFileSystemReader
from millrace.checkpoint.settings import ConvertSettings
from millrace.checkpoint.verify import parts_of, verify_file
from millrace.errors import UsageError
from tests.checkpoint.saved_checkpoints import cause_of, filled, load, same, save


class Phase(enum.Enum):
    """An enumeration of the user's own."""

    WARM_UP = "warm up"
    MAIN = 2


class Scheduler:
    """An object of the user's own."""

    def __init__(self) -> None:
        self.rate = 0.5


class RunsACommand:
    """Pickles to a call of os.system."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.marker}'",)


PLAIN: dict[str, Any] = {
    "array": np.arange(6.0).reshape(2, 3),
    "array of texts": np.array(["ab", "c"]),
    "array of times": np.array([1, 2], dtype="datetime64[s]"),
    "array of another byte order": np.ones(3, dtype=">f4"),
    "number": np.float32(3),
    "numpy's state": np.random.get_state(),
    "generator": np.random.default_rng(3),
    "python's state": random.getstate(),
    "torch's state": torch.get_rng_state(),
    "all states": {"numpy": np.random.get_state(), "python": random.getstate(), "torch": torch.get_rng_state()},
    "time": datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC),
    "length of time": datetime.timedelta(3),
    "deque": collections.deque([1, 2], maxlen=4),
    "frozen": frozenset([1, "a"]),
    "path": pathlib.Path("/a/b"),
    "enumeration": Phase.WARM_UP,
    "python's enumeration": signal.SIGINT,
    "mappings": [collections.OrderedDict(a=1), collections.Counter("abca"), collections.defaultdict(list, {1: [2]})],
    "exact": [decimal.Decimal("1.5"), fractions.Fraction(1, 3), uuid.UUID(int=5), 3 + 4j, 2**100],
    "bytes": [b"abc", bytearray(b"abc"), range(3)],
    "torch's": [torch.float32, torch.Size([1, 2]), torch.device("cpu")],
    "keys": {(1, "a"): 2, pathlib.Path("a"): 1, Phase.MAIN: 3, datetime.date(2026, 1, 2): 4},
    "records": np.array([(1, 2.5)], dtype=[("a", "i8"), ("b", "f4")]),
    "aligned records": np.zeros(2, dtype=np.dtype([("a", "u1"), ("b", "f8")], align=True)),
    "records in records": np.zeros(2, dtype=[("p", [("x", "f4", (3, 2))]), ("name", "U4")]),
    "one record": np.array([(1, 2.5)], dtype=[("a", "i8"), ("b", "f4")])[0],
    "named records": np.rec.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
    "masked": np.ma.array([1, 2, 3], mask=[0, 1, 0], fill_value=9),
    "matrix": np.asmatrix(np.ones((2, 2))),
    "array of raw bytes": np.zeros(2, dtype="V7"),
    "a dtype and a type of numpy's": [np.dtype("f4"), np.dtype([("a", "i2")]), np.float32, np.bool_],
    "types": [int, str, set, complex, object, type(None)],
    "words": [..., NotImplemented],
    "a generator of Python's": random.Random(3),
    "options": [types.SimpleNamespace(lr=0.1, inner=types.SimpleNamespace(a=[1])), argparse.Namespace(lr=0.1, name="x")],
    "numbers": array.array("d", [1.0, 2.0]),
    "time in a zone": datetime.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    "zones": [zoneinfo.ZoneInfo("UTC"), zoneinfo.ZoneInfo("America/Argentina/Buenos_Aires"), zoneinfo.ZoneInfo("Etc/GMT+1")],
    "local time": time.gmtime(0),
    "version": torch.__version__,
    "defaults": [
        collections.defaultdict(int, a=1),
        collections.defaultdict(collections.Counter, a=collections.Counter("ab")),
        collections.defaultdict(collections.deque),
        collections.defaultdict(frozenset),
    ],
    "tensors": {"ema": torch.ones(3), "parameter": torch.nn.Parameter(torch.ones(2))},
}


def saved_bytes(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def text_of(value: Any) -> str:
    if isinstance(value, random.Random):
        return repr(value.getstate())
    return repr(value.bit_generator.state) if isinstance(value, np.random.Generator) else repr(value)


@pytest.mark.parametrize("byte_items", ["error", "skip"])
@pytest.mark.parametrize("name", PLAIN)
def test_plain_values_load_beside_the_weights_as_with_stock(tmp_path: Path, name: str, byte_items: Any) -> None:
    wrapped = {"value": PLAIN[name], "also": 1}
    assert refusal(saved_bytes(wrapped)) is None
    save({"w": filled(3), "extra": Holder(wrapped)}, tmp_path)
    states: list[dict[str, Any]] = []
    for reader in (dcp.FileSystemReader(tmp_path), ParallelFileSystemReader(tmp_path, byte_items=byte_items)):
        state: dict[str, Any] = {"w": torch.zeros(3), "extra": Holder(None)}
        try:
            load(state, reader)
        except dcp.api.CheckpointException as error:  # torch keeps some values flat, some whole
            pytest.fail(str(cause_of(error)))
        states.append(state)
    assert same(states[1]["w"], filled(3))
    assert text_of(states[0]["extra"].value["value"]) == text_of(states[1]["extra"].value["value"])


class Holder:
    """Keeps its value in one piece, as one byte item."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def state_dict(self) -> dict[str, Any]:
        return {"kept": Whole(self.value).packed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = state["kept"][0]


class Whole:
    """A tuple: torch's planners do not look into it."""

    def __init__(self, value: Any) -> None:
        self.packed = (value,)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    return save({"w": filled(3), "scheduler": Scheduler(), "step": 5, "evil": RunsACommand(tmp_path / "ran")}, tmp_path / "c")


def blank() -> dict[str, Any]:
    return {"w": torch.full((3,), 7.0), "scheduler": "as it was", "step": 0, "evil": "as it was"}


def test_the_weights_load_and_a_foreign_value_is_left_and_named_with_the_switch(mixed: Path, tmp_path: Path) -> None:
    reader = ParallelFileSystemReader(mixed)
    state = blank()
    with pytest.warns(UserWarning, match=r"'scheduler'.*'evil'|'evil'.*'scheduler'") as caught:
        load_loudly(state, reader)
    message = next(str(one.message) for one in caught if "not loaded" in str(one.message))
    assert "byte_items='trusted'" in message
    assert "allow_globals" in message
    assert same(state["w"], filled(3))
    assert (state["step"], state["scheduler"], state["evil"]) == (5, "as it was", "as it was")
    assert set(reader.metrics.skipped) == {"scheduler", "evil"}
    assert not (tmp_path / "ran").exists()


def load_loudly(state: dict[str, Any], reader: Any) -> None:
    dcp.load(state, storage_reader=reader, no_dist=True)


def test_error_refuses_before_anything_is_touched_and_names_the_switch(mixed: Path, tmp_path: Path) -> None:
    state = blank()
    with pytest.raises(dcp.api.CheckpointException, match="byte_items='trusted'") as caught:
        load(state, ParallelFileSystemReader(mixed, byte_items="error"))
    error = cause_of(caught.value)
    assert isinstance(error, CheckpointError)
    assert {problem.tensor for problem in error.problems} == {"scheduler", "evil"}
    assert (state["w"] == 7).all()
    assert not (tmp_path / "ran").exists()


def test_an_allowed_class_loads_and_nothing_else_with_it(mixed: Path, tmp_path: Path) -> None:
    state = blank()
    load(state, ParallelFileSystemReader(mixed, allow_globals=(Scheduler,)))
    assert state["scheduler"].rate == 0.5
    assert state["evil"] == "as it was"
    assert not (tmp_path / "ran").exists()


def test_trusted_loads_all_of_them(mixed: Path, tmp_path: Path) -> None:
    state = blank()
    load(state, ParallelFileSystemReader(mixed, byte_items="trusted"))
    assert state["scheduler"].rate == 0.5
    assert (tmp_path / "ran").exists()


def test_a_damaged_value_is_an_error_and_not_skipped(mixed: Path) -> None:
    places = ParallelFileSystemReader(mixed).read_metadata().storage_data
    info = next(info for index, info in places.items() if index.fqn == "step")
    file = mixed / info.relative_path
    data = bytearray(file.read_bytes())
    data[info.offset : info.offset + info.length] = bytes(info.length)
    file.write_bytes(data)
    with pytest.raises(dcp.api.CheckpointException, match="damaged"):
        load(blank(), ParallelFileSystemReader(mixed))


@pytest.mark.parametrize("byte_items", ["error", "skip", "trusted"])
def test_verify_calls_a_sound_checkpoint_with_foreign_values_whole_unless_told_otherwise(mixed: Path, byte_items: Any) -> None:
    parts, problems = parts_of(mixed)
    reports = [verify_file(part, byte_items=byte_items) for part in parts]
    foreign = {name for report in reports for name in report.foreign}
    damaged = {problem.tensor for report in reports for problem in report.problems}
    assert problems == []
    assert damaged == ({"scheduler", "evil"} if byte_items == "error" else set())
    assert foreign == ({"scheduler", "evil"} if byte_items == "skip" else set())


def test_convert_drops_values_without_unpickling_them(mixed: Path, tmp_path: Path) -> None:
    done = convert_checkpoint(mixed, ConvertSettings(to=tmp_path / "out", objects="drop"))
    assert done.dropped == ["evil", "scheduler", "step"]
    assert not (tmp_path / "ran").exists()
    assert same(load({"w": torch.zeros(3)}, ParallelFileSystemReader(tmp_path / "out"))["w"], filled(3))


def test_convert_to_dcp_hands_foreign_values_on_as_they_are(mixed: Path, tmp_path: Path) -> None:
    convert_checkpoint(mixed, ConvertSettings(to=tmp_path / "out", format="dcp"))
    assert not (tmp_path / "ran").exists()
    state = blank()
    load(state, ParallelFileSystemReader(tmp_path / "out", allow_globals=(Scheduler,)))
    assert (state["scheduler"].rate, state["step"]) == (0.5, 5)


def test_convert_to_one_file_leaves_foreign_values_out_and_says_so(mixed: Path, tmp_path: Path) -> None:
    done = convert_checkpoint(mixed, ConvertSettings(to=tmp_path / "out.pt", format="torch_save"))
    assert sorted(done.dropped) == ["evil", "scheduler"]
    assert not (tmp_path / "ran").exists()
    assert torch.load(tmp_path / "out.pt", weights_only=True)["step"] == 5
    allowed = ConvertSettings(to=tmp_path / "more.pt", format="torch_save")
    assert convert_checkpoint(mixed, allowed, allow=(Scheduler,)).dropped == ["evil"]
    with pytest.raises(CheckpointError, match="refused"):
        convert_checkpoint(mixed, ConvertSettings(to=tmp_path / "e.pt", format="torch_save"), byte_items="error")


def test_classes_are_named_by_module_and_name() -> None:
    assert classes_named(["collections.deque"]) == (collections.deque,)
    for wrong in ("nowhere.Class", "collections.nothing", "os.system", "Class"):
        with pytest.raises(UsageError, match="allow_globals"):
            classes_named([wrong])


def with_pickle(pickled: bytes) -> bytes:
    """A `torch.save` archive with this pickle in it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
    return stream.getvalue()


HOSTILE = {
    "os.system": b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03.",
    "getattr": b"\x80\x02cbuiltins\ngetattr\n.",
    "a state for a class": b"\x80\x02ccollections\ndeque\n}b.",
    "an array of objects": b"\x80\x02cnumpy\ndtype\n(X\x02\x00\x00\x00O8K\x00K\x01tR.",
    "a factory that runs": b"\x80\x02ccollections\ndefaultdict\ncposix\nsystem\n\x85R.",
    "a call of what was made": b"\x80\x02ccollections\nOrderedDict\n)R)R.",
    "a far memo index": b"\x80\x02Nr\xff\xff\xff\x70.",
    "getattr of something else": b"\x80\x02cbuiltins\ngetattr\nczoneinfo\nZoneInfo\nX\x08\x00\x00\x00__init__\x86R.",
    "getattr kept for later": b"\x80\x02]cbuiltins\ngetattr\na.",
    "a zone that is a path": b"\x80\x02cbuiltins\ngetattr\nczoneinfo\nZoneInfo\nX\x09\x00\x00\x00_unpickle\x86R"
    b"X\x05\x00\x00\x00../..K\x01\x86R.",
    "a class made by type": b"\x80\x02cbuiltins\ntype\nX\x01\x00\x00\x00A)}\x87R.",
    "a doubled key": b"\x80\x02}](" + b")q\x00" + b"".join(b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(60)) + b"e0h\x3cNs.",
}


class Says:
    """Pickles to any call and state."""

    def __init__(self, function: Any, arguments: tuple[Any, ...], state: Any = None) -> None:
        self.made = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.made


def dtype_of(text: str, *state: Any) -> Says:
    return Says(np.dtype, (text, False, True), state)


def array_of(dtype: Any, data: bytes) -> Says:
    return Says(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, (len(data) // 8,), dtype, False, data))


LYING_DTYPES = {
    "numbers that are pointers": dtype_of("i8", 3, "<", None, None, None, -1, -1, 1),
    "numbers that are lists of objects": dtype_of("i8", 3, "<", None, None, None, -1, -1, 63),
    "a field behind the end": dtype_of("V8", 3, "|", None, ("a",), {"a": (np.dtype("f8"), 8)}, 8, 1, 16),
    "a field before the start": dtype_of("V8", 3, "|", None, ("a",), {"a": (np.dtype("f4"), -4)}, 8, 1, 16),
    "a field that is too long": dtype_of("V8", 3, "|", None, ("a",), {"a": (np.dtype("U9"), 0)}, 8, 1, 16),
    "a field of objects": dtype_of("V8", 3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 16),
    "more repeats than bytes": dtype_of("V8", 3, "|", (np.dtype("f8"), (1000,)), None, None, 8, 1, 0),
    "longer than it says": dtype_of("V8", 3, "|", None, None, None, 1 << 30, 1, 0),
    "aligned to nothing": dtype_of("V8", 3, "|", None, None, None, 8, 0, 0),
    "names without fields": dtype_of("V8", 3, "|", None, ("a", "b"), {"a": (np.dtype("f8"), 0)}, 8, 1, 16),
}


@pytest.mark.parametrize("name", LYING_DTYPES)
def test_a_dtype_that_lies_about_its_memory_never_reaches_numpy(name: str) -> None:
    assert refusal(with_pickle(pickle.dumps(array_of(np.dtype("i8"), bytes(32)), 2))) is None
    assert refusal(with_pickle(pickle.dumps(array_of(LYING_DTYPES[name], bytes(32)), 2))) is not None


@pytest.mark.parametrize("name", HOSTILE)
def test_a_pickle_that_is_more_than_data_never_reaches_the_unpickler(name: str) -> None:
    assert refusal(with_pickle(HOSTILE[name])) is not None


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_pickle_that_passes_builds_only_data(at: int, byte: int, cut: bool) -> None:
    values = (np.arange(3), Phase.MAIN, pathlib.Path("/a"), {1: {2, 3}}, datetime.date(2026, 1, 2), b"abc")
    pickled = bytearray(pickle.dumps(values, 2))
    at %= len(pickled)
    if cut:
        del pickled[at]
    else:
        pickled[at] = byte
    if refusal(with_pickle(bytes(pickled))) is None:
        found: Any = None
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, OverflowError, LookupError):
            found = pickle.loads(bytes(pickled))
        assert type(found).__module__.split(".")[0] in ("builtins", "collections", "datetime", "numpy", "pathlib", __name__)
