"""`load` without torch's planner: the same tensors, the same refusals, and an index that is never believed."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import pickle
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.metadata import MetadataIndex

from millrace.checkpoint import load
from millrace.checkpoint.direct.index_file import INDEX_FILE, _key
from millrace.checkpoint.problems import CheckpointError
from tests.checkpoint.saved_checkpoints import CutTensor, assert_equal, filled, save

STATE = {f"w{number:03}": filled(3 + number % 4, 5, seed=number) for number in range(300)} | {"big": filled(3 << 20)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(dict(STATE), tmp_path_factory.mktemp("direct") / "c", thread_count=3)


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    """A checkpoint of the test's own, with its index."""
    folder = Path(shutil.copytree(saved, tmp_path / "c"))
    load(folder, blank())
    assert (folder / INDEX_FILE).exists()
    return folder


def blank() -> dict[str, Any]:
    return {name: torch.full_like(one, 7) for name, one in STATE.items()}


def test_a_new_state_is_nested_as_it_was_saved_with_its_other_values(tmp_path: Path) -> None:
    state = {"model": {"a": filled(4, 4), "parts": CutTensor.of(filled(6, 2), [((0, 0), (3, 2)), ((3, 0), (3, 2))])}}
    state |= {"steps": [filled(2), 5], "empty": filled(0), "epoch": 3}
    save(state, tmp_path)
    for _ in range(2):
        assert_equal(load(tmp_path), state)
    assert load(tmp_path)["steps"][1] == 5


def test_the_index_spares_the_metadata_and_is_as_good(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from millrace.checkpoint.reader import ParallelFileSystemReader

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the metadata was read although there is an index")

    monkeypatch.setattr(ParallelFileSystemReader, "read_metadata", refuse)
    assert_equal(load(copy, blank()), STATE)


def test_a_folder_that_cannot_be_written_to_has_its_index_in_the_cache(saved: Path, tmp_path: Path) -> None:
    from millrace.checkpoint.direct import index_file

    folder = Path(shutil.copytree(saved, tmp_path / "c"))
    (folder / INDEX_FILE).unlink(missing_ok=True)
    (folder / INDEX_FILE).mkdir()  # takes no file, whoever asks
    load(folder, blank())
    assert index_file._cached(folder).is_file()
    assert_equal(load(folder, blank()), STATE)


def test_an_index_with_any_damage_or_signed_by_others_changes_nothing(copy: Path) -> None:
    path = copy / INDEX_FILE
    whole = path.read_bytes()
    chance = random.Random(5)
    damaged = [whole[: chance.randrange(len(whole))] for _ in range(10)]
    for _ in range(40):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        damaged.append(bytes(data))
    payload = whole[48:]
    damaged.append(whole[:16] + hmac.digest(b"x" * 32, payload, "sha256") + payload)
    damaged.append(whole[:16] + hashlib.sha256(payload).digest() + payload)
    for data in damaged:
        path.write_bytes(data)
        assert_equal(load(copy, blank()), STATE)


def test_a_signed_index_that_points_anywhere_gives_no_wrong_tensor_of_another_shape_and_no_crash(copy: Path) -> None:
    key = _key()
    assert key is not None
    path = copy / INDEX_FILE
    whole = path.read_bytes()
    chance = random.Random(6)
    for _ in range(60):
        payload = bytearray(whole[48:])
        for _ in range(chance.choice([1, 3])):
            payload[chance.randrange(33, len(payload))] = chance.randrange(256)
        path.write_bytes(whole[:16] + hmac.digest(key, bytes(payload), "sha256") + bytes(payload))
        with contextlib.suppress(CheckpointError):
            load(copy, blank())


def test_an_index_of_other_metadata_is_not_used(copy: Path, tmp_path: Path) -> None:
    other = {name: filled(*one.shape, seed=900 + number) for number, (name, one) in enumerate(reversed(STATE.items()))}
    save(other, tmp_path / "other", thread_count=2)
    shutil.copy(copy / INDEX_FILE, tmp_path / "other" / INDEX_FILE)
    assert_equal(load(tmp_path / "other", blank()), {name: other[name] for name in STATE})


def test_a_key_that_others_can_read_signs_nothing(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert _key() is not None
    (tmp_path / "cache/millrace/index-key").chmod(0o644)
    assert _key() is None
    folder = Path(shutil.copytree(saved, tmp_path / "c"))
    (folder / INDEX_FILE).unlink(missing_ok=True)
    assert_equal(load(folder, blank()), STATE)
    assert not (folder / INDEX_FILE).exists()


DAMAGE = ["flip", "cut", "swapped", "zeros", "missing"]


@pytest.mark.parametrize("verify", ["size", "crc"])
@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_files_are_named_errors_and_never_a_wrong_tensor_under_crc(copy: Path, kind: str, verify: Any) -> None:
    chance = random.Random(kind)
    files = sorted(copy.glob("*.distcp"))
    for _ in range(8):
        path = chance.choice(files)
        whole = path.read_bytes()
        data = bytearray(whole)
        at = chance.randrange(len(data))
        if kind == "flip":
            data[at] ^= 1 << chance.randrange(8)
        elif kind == "zeros":
            data[at : at + 400] = bytes(len(data[at : at + 400]))
        elif kind == "cut":
            del data[at:]
        elif kind == "swapped":
            data = bytearray(files[(files.index(path) + 1) % 3].read_bytes())
        path.write_bytes(data)
        if kind == "missing":
            path.unlink()
        state, raised = blank(), None
        try:
            load(copy, state, verify=verify)
        except CheckpointError as error:
            raised = error
        if raised is not None:
            assert path.name in str(raised)
            assert raised.touched or all((one == 7).all() for one in state.values())
        else:
            assert kind not in ("cut", "missing")
            if verify == "crc":
                assert_equal(state, STATE)
        path.write_bytes(whole)


def test_what_is_not_in_the_checkpoint_is_named(copy: Path) -> None:
    for asked, said in (({**blank(), "extra": torch.zeros(1)}, "extra"), ({"w000": torch.zeros(9, 9)}, "w000")):
        with pytest.raises(CheckpointError, match=said):
            load(copy, asked)


def test_the_version_of_each_target_is_bumped_and_tied_ones_end_as_with_the_reader(copy: Path) -> None:
    state = blank()
    shared = torch.zeros(3, 5)
    state |= {"w000": shared, "w004": shared, "w008": torch.nn.Parameter(torch.zeros(3, 5))}
    before = shared._version, state["w008"]._version
    load(copy, state)
    assert shared._version > before[0]
    assert state["w008"]._version > before[1]
    with torch.no_grad():
        assert_equal(shared, STATE["w004"])


def test_progress_counts_every_byte_once(copy: Path) -> None:
    told: list[tuple[int, int]] = []
    load(copy, blank(), on_progress=lambda done, total: told.append((done, total)))
    total = sum(one.numel() * one.itemsize for one in STATE.values())
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_safetensors_files_load_like_load_file(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    names = sorted(STATE)
    save_file({name: STATE[name] for name in names[:100]}, tmp_path / "model-1.safetensors")
    save_file({name: STATE[name] for name in names[100:]}, tmp_path / "model-2.safetensors")
    assert_equal(load(tmp_path, blank()), STATE)
    assert_equal(load(tmp_path / "model-1.safetensors"), {name: STATE[name] for name in load(tmp_path / "model-1.safetensors")})
    data = (tmp_path / "model-2.safetensors").read_bytes()
    (tmp_path / "model-2.safetensors").write_bytes(data[:-10])
    with pytest.raises(CheckpointError, match=r"model-2.safetensors.*ends at byte"):
        load(tmp_path, blank())


def test_a_metadata_that_lists_a_hole_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    halves = [((0, 0), (3, 2)), ((3, 0), (3, 2))]
    save({"t": CutTensor.of(filled(6, 2), halves), "u": filled(5)}, tmp_path)
    metadata = pickle.loads((tmp_path / ".metadata").read_bytes())
    metadata.state_dict_metadata["t"].chunks.pop()
    del metadata.storage_data[MetadataIndex("t", (3, 0))]
    (tmp_path / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(CheckpointError, match="do not cover its shape"):
        load(tmp_path, {"t": torch.zeros(6, 2), "u": torch.zeros(5)})


def test_a_fifo_in_the_place_of_an_index_is_not_waited_for(saved: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "c"))
    (folder / INDEX_FILE).unlink(missing_ok=True)
    os.mkfifo(folder / INDEX_FILE)
    assert_equal(load(folder, blank()), STATE)
