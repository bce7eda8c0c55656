"""Checkpoints behind a URL are read by the same plan as those in a folder, with few opens and ranges side by side."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
import torch.distributed.checkpoint as dcp
from fsspec.implementations.memory import MemoryFileSystem

from millrace.checkpoint.problems import CheckpointError
from millrace.checkpoint.reader import ParallelFileSystemReader
from tests.checkpoint.saved_checkpoints import CutTensor, cause_of, filled, load, same, save

STATE: dict[str, Any] = {f"w{number}": filled(50, seed=number) for number in range(400)} | {"big": filled(3 << 20), "step": 3}


def blank() -> dict[str, Any]:
    return {name: torch.zeros_like(one) if isinstance(one, torch.Tensor) else 0 for name, one in STATE.items()}


class CountingMemory(MemoryFileSystem):
    """Memory that counts what is opened, and wants a password."""

    protocol = "counting"
    opened: Counter[str] = Counter()
    store: dict[str, Any] = {}
    pseudo_dirs = [""]

    def __init__(self, password: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.password = password

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("counting://").strip("/")

    def _open(self, path: str, *rest: Any, **options: Any) -> Any:
        if self.password != "secret":
            raise PermissionError(13, "Permission denied", path)
        self.opened[path] += 1
        return super()._open(path, *rest, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(dict(STATE), tmp_path_factory.mktemp("remote"))


@pytest.fixture
def in_memory(folder: Path) -> str:
    fsspec.register_implementation("counting", CountingMemory, clobber=True)
    place = f"counting://{uuid.uuid4().hex}"
    system = fsspec.filesystem("counting", password="secret")
    for path in folder.iterdir():
        system.pipe_file(f"{place}/{path.name}", path.read_bytes())
    CountingMemory.opened.clear()
    return place


@pytest.mark.parametrize("verify", ["none", "size", "crc"])
def test_a_file_behind_a_url_is_opened_once_however_many_tensors_it_holds(in_memory: str, verify: Any) -> None:
    reader = ParallelFileSystemReader(in_memory, verify=verify, storage_options={"password": "secret"})
    ours = load(blank(), reader)
    assert all(same(ours[name], one) for name, one in STATE.items() if name != "step")
    assert ours["step"] == 3
    assert reader.metrics.stock_items == 0
    assert sum(CountingMemory.opened.values()) <= 2, CountingMemory.opened


def test_storage_options_reach_the_file_system(in_memory: str) -> None:
    with pytest.raises(dcp.api.CheckpointException, match="Permission denied") as caught:
        load(blank(), ParallelFileSystemReader(in_memory))
    assert isinstance(cause_of(caught.value), CheckpointError)


class Ranges(BaseHTTPRequestHandler):
    """Serves a folder as an object store does: ranges, no listing."""

    folder: Path
    seen: list[tuple[str, str]] = []
    most = now = 0
    lock = threading.Lock()
    broken = False

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        with self.lock:
            type(self).now += 1
            type(self).most = max(self.most, self.now)
        self._answer(body=True)
        with self.lock:
            type(self).now -= 1

    def _answer(self, *, body: bool) -> None:
        path = self.folder / self.path.rpartition("/")[2]
        asked = self.headers.get("Range")
        if not path.is_file() or (self.broken and asked):
            self.send_error(500 if path.is_file() else 404)
            return
        data = path.read_bytes()
        low, high = 0, len(data)
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            low, high = int(first), min(int(last) + 1 if last else len(data), len(data))
            self.seen.append((path.name, asked))
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(high - low))
        if asked:
            self.send_header("Content-Range", f"bytes {low}-{high - 1}/{len(data)}")
        self.end_headers()
        if body:
            threading.Event().wait(0.01)
            self.wfile.write(data[low:high])

    def log_message(self, *_: Any) -> None:
        return None


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    pytest.importorskip("aiohttp")
    Ranges.folder, Ranges.broken, Ranges.most, Ranges.now = folder, False, 0, 0
    Ranges.seen.clear()
    serving = ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}/ckpt"
    serving.shutdown()
    serving.server_close()


def test_an_object_store_is_asked_for_ranges_side_by_side(server: str) -> None:
    reader = ParallelFileSystemReader(server)
    ours = load(blank(), reader)
    assert all(same(ours[name], one) for name, one in STATE.items() if name != "step")
    assert Ranges.most > 1
    assert len(Ranges.seen) < 40, "neighbours are asked for together"


def test_only_the_rows_asked_for_travel(server: str) -> None:
    low = 1 << 20
    target = CutTensor.of(torch.zeros(3 << 20), [((low,), (1000,))])
    reader = ParallelFileSystemReader(server)
    load({"big": target}, reader)
    assert same(target[low : low + 1000], STATE["big"][low : low + 1000])
    assert reader.metrics.read_bytes < 100_000


def test_a_store_that_fails_is_our_error_with_the_files_name(server: str, folder: Path) -> None:
    Ranges.broken = True
    with pytest.raises(dcp.api.CheckpointException) as caught:
        load(blank(), ParallelFileSystemReader(server))
    error = cause_of(caught.value)
    assert isinstance(error, CheckpointError)
    assert {problem.file for problem in error.problems} <= {".metadata", *(path.name for path in folder.iterdir())}


def test_what_is_not_there_is_our_error(server: str) -> None:
    Ranges.folder = Ranges.folder / "nowhere"
    with pytest.raises(dcp.api.CheckpointException, match=r"\.metadata"):
        load(blank(), ParallelFileSystemReader(server))
