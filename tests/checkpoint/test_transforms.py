"""Items that an extension has transformed (compressed, here) are read by torch's own code, one by one, counted and named."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import IO, Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint._extension import ExtensionRegistry, StreamTransformExtension

from millrace.checkpoint.engine.vector_io import PosixFiles
from millrace.checkpoint.problems import CheckpointError
from millrace.checkpoint.reader import ParallelFileSystemReader
from tests.checkpoint.saved_checkpoints import cause_of, filled, load, same


class Deflate(StreamTransformExtension):
    """Compression as a user would plug it in."""

    @staticmethod
    def registry_name() -> str:
        return "stream.deflate"

    @staticmethod
    def from_descriptor(version: str) -> Deflate:
        return Deflate()

    def get_descriptor(self) -> str:
        return f"{self.registry_name()}/1"

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        class Writer(io.BytesIO):
            def close(self) -> None:
                if not self.closed:
                    output.write(zlib.compress(self.getvalue()))
                    output.close()
                super().close()

        return Writer()

    def transform_from(self, stream: IO[bytes]) -> IO[bytes]:
        return io.BytesIO(zlib.decompress(stream.read()))


def saved(path: Path) -> dict[str, Any]:
    """A checkpoint in which only items with `packed` in their name are compressed."""
    state = {"packed": {"w": filled(30, 20), "step": 7}, "plain": {"w": filled(40, 3, seed=1), "v": filled(9, seed=2)}}
    writer = dcp.FileSystemWriter(path, sync_files=False, _extensions=[Deflate()])
    every = writer.transforms.transform_save_stream

    def only_packed(item: Any, raw: Any) -> Any:
        writer.transforms.extensions = [Deflate()] if item.index.fqn.startswith("packed") else ()
        return every(item, raw)

    writer.transforms.transform_save_stream = only_packed
    dcp.save(state, storage_writer=writer, no_dist=True)
    return state


def blank() -> dict[str, Any]:
    return {"packed": {"w": torch.zeros(30, 20), "step": 0}, "plain": {"w": torch.zeros(40, 3), "v": torch.zeros(9)}}


@pytest.fixture
def registry() -> ExtensionRegistry:
    found = ExtensionRegistry()
    found.register(Deflate)
    return found


def test_a_compressed_item_takes_torchs_path_alone_and_is_named(tmp_path: Path, registry: ExtensionRegistry) -> None:
    state = saved(tmp_path)
    for verify in ("none", "size", "crc"):
        reader = ParallelFileSystemReader(tmp_path, verify=verify, _extension_registry=registry)
        ours = load(blank(), reader)
        assert all(same(ours[group]["w"], state[group]["w"]) for group in state)
        assert ours["packed"]["step"] == 7
        assert reader.metrics.stock_items == 1
        assert reader.metrics.stock_reasons == {"transform stream.deflate/1": 1}
        assert reader.metrics.fast_items == 2
        assert reader.metrics.byte_items == 1
        assert "1 by torch: transform stream.deflate/1" in reader.metrics.line()


def test_a_compressed_item_is_narrowed_and_cast_as_stock_does_it(tmp_path: Path, registry: ExtensionRegistry) -> None:
    saved(tmp_path)
    stock = load({"packed": {"w": torch.zeros(30, 20).half()}}, dcp.FileSystemReader(tmp_path, _extension_registry=registry))
    ours = load({"packed": {"w": torch.zeros(30, 20).half()}}, ParallelFileSystemReader(tmp_path, _extension_registry=registry))
    assert same(ours["packed"]["w"], stock["packed"]["w"])


def test_an_extension_that_is_not_registered_is_an_error_that_names_the_item(tmp_path: Path) -> None:
    saved(tmp_path)
    with pytest.raises(BaseException, match=r"packed\.w") as raised:
        load({"packed": {"w": torch.zeros(30, 20)}}, ParallelFileSystemReader(tmp_path))
    assert isinstance(cause_of(raised.value), CheckpointError)


def test_a_damaged_compressed_item_leaves_the_plain_ones_untouched_under_crc(tmp_path: Path, registry: ExtensionRegistry) -> None:
    saved(tmp_path)
    places = ParallelFileSystemReader(tmp_path).read_metadata().storage_data
    info = next(info for index, info in places.items() if index.fqn == "packed.w")
    data = bytearray((tmp_path / info.relative_path).read_bytes())
    data[info.offset + info.length // 2] ^= 0xFF
    (tmp_path / info.relative_path).write_bytes(data)
    state = blank()
    with pytest.raises(BaseException, match=r"packed\.w") as raised:
        load(state, ParallelFileSystemReader(tmp_path, verify="crc", _extension_registry=registry))
    assert not cause_of(raised.value).touched
    assert not state["plain"]["w"].any()


class Counting(PosixFiles):
    """Counts opens of data files."""

    opens = 0

    def open(self, path: Any) -> int:
        self.opens += str(path).endswith(".distcp")
        return super().open(path)


@pytest.mark.parametrize("verify", ["size", "crc"])
def test_a_file_of_many_compressed_items_is_opened_once(tmp_path: Path, registry: ExtensionRegistry, verify: Any) -> None:
    state = {f"w{number}": filled(7, seed=number) for number in range(40)}
    writer = dcp.FileSystemWriter(tmp_path, sync_files=False, _extensions=[Deflate()])
    dcp.save(dict(state), storage_writer=writer, no_dist=True)
    files = Counting()
    reader = ParallelFileSystemReader(tmp_path, verify=verify, files=files, _extension_registry=registry)
    ours = load({name: torch.zeros(7) for name in state}, reader)
    assert all(same(ours[name], one) for name, one in state.items())
    assert reader.metrics.stock_items == 40
    assert files.opens == 1
