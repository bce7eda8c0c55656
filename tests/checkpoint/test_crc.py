"""Sums by ISA-L are those of zlib, whichever the other side used."""

from __future__ import annotations

import sys
import types
import zlib
from collections.abc import Callable
from importlib import reload
from pathlib import Path

import pytest
import torch

from millrace.checkpoint import checksums, load
from millrace.checkpoint.formats import crc
from millrace.checkpoint.problems import CheckpointError
from tests.checkpoint.saved_checkpoints import filled, same, save


@pytest.mark.parametrize("nbytes", [0, 1, 15, 16, 4097, 1 << 20])
def test_isal_sums_like_zlib_also_from_a_sum_on(nbytes: int) -> None:
    isal = pytest.importorskip("isal.isal_zlib")
    data = filled(nbytes + 3).numpy().tobytes()[3 : 3 + nbytes]
    for view in (data, bytearray(data), memoryview(data)):
        for start in (0, 1, 0xFFFFFFFF):
            assert isal.crc32(view, start) == zlib.crc32(view, start)


def test_isal_is_used_where_it_is_installed_and_zlib_where_not(monkeypatch: pytest.MonkeyPatch) -> None:
    package, module = types.ModuleType("isal"), types.ModuleType("isal.isal_zlib")
    installed: Callable[..., int] = lambda data, value=0: 7  # noqa: E731
    module.crc32 = installed  # type: ignore[attr-defined]
    try:
        monkeypatch.setitem(sys.modules, "isal", package)
        monkeypatch.setitem(sys.modules, "isal.isal_zlib", module)
        assert reload(crc).crc32 is installed
        monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)  # its import is an ImportError
        assert reload(crc).crc32 is zlib.crc32
    finally:
        monkeypatch.undo()
        reload(crc)


def test_a_flipped_bit_is_found_by_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save({"a": filled(3000)}, tmp_path)
    (file,) = folder.glob("*.distcp")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    ways = [zlib.crc32, crc.crc32]
    for way in ways:
        monkeypatch.setattr(checksums, "crc32", way)
        assert same(load(folder, {"a": torch.zeros(3000)}, verify="crc")["a"], filled(3000))
    file.write_bytes(data)
    for way in ways:
        monkeypatch.setattr(checksums, "crc32", way)
        with pytest.raises(CheckpointError, match="CRC mismatch"):
            load(folder, {"a": torch.zeros(3000)}, verify="crc")
