"""Checkpoints behind a URL are read by the same plan as those in a folder, with few opens and ranges side by side."""

from __future__ import annotations

import pickle
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import fsspec
import pytest
import torch
import torch.distributed.checkpoint as dcp
from fsspec.implementations.memory import MemoryFileSystem

from millrace.checkpoint.formats.safetensors_format import build_header
from millrace.checkpoint.problems import CheckpointError
from millrace.checkpoint.reader import ParallelFileSystemReader
from millrace.checkpoint.seal import SEAL_NAME
from millrace.checkpoint.settings import CheckpointConfig
from millrace.checkpoint.verify import parts_of, seal_checkpoint, verify_part
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
        stream = super()._open(path, *rest, **options)
        self.opened[path] += 1
        return stream


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
        path = self.folder / urlsplit(self.path).path.rpartition("/")[2]
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


class Bucket(Ranges):
    """The same folder by the protocol of S3: as `/bucket/ckpt/NAME`, and it can be listed."""

    forbidden = ""

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        if "list-type" not in asked:
            super().do_GET()
            return
        prefix = asked.get("prefix", [""])[0]
        keys = [f"ckpt/{one.name}" for one in sorted(self.folder.iterdir())]
        found = "".join(
            f"<Contents><Key>{key}</Key><Size>{(self.folder / key[5:]).stat().st_size}</Size></Contents>"
            for key in keys
            if key.startswith(prefix)
        )
        text = f"<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _answer(self, *, body: bool) -> None:
        if self.forbidden and self.forbidden in self.path:
            self.send_error(403)
            return
        super()._answer(body=body)


def serve(handler: type[Ranges], folder: Path) -> Iterator[int]:
    Ranges.folder, Ranges.broken, Ranges.most, Ranges.now, Bucket.forbidden = folder, False, 0, 0, ""
    Ranges.seen.clear()
    serving = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=serving.serve_forever, args=(0.02,), daemon=True).start()
    yield serving.server_port
    serving.shutdown()
    serving.server_close()


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    for port in serve(Ranges, folder):
        yield f"http://127.0.0.1:{port}/ckpt"


@pytest.fixture
def bucket(folder: Path) -> Iterator[dict[str, Any]]:
    """What a reader of `s3://bucket/ckpt` needs to be told."""
    for port in serve(Bucket, folder):
        yield {"key": "k", "secret": "s", "endpoint_url": f"http://127.0.0.1:{port}", "skip_instance_cache": True}


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


BLANK_S3 = "s3://bucket/ckpt"


@pytest.mark.parametrize("verify", ["size", "crc"])
def test_a_checkpoint_in_a_bucket_loads_in_ranges(bucket: dict[str, Any], verify: Any) -> None:
    reader = ParallelFileSystemReader(BLANK_S3, verify=verify, storage_options=bucket)
    ours = load(blank(), reader)
    assert all(same(ours[name], one) for name, one in STATE.items() if name != "step")
    assert ours["step"] == 3
    assert len([name for name, _ in Ranges.seen if name == "__0_0.distcp"]) < (60 if verify == "crc" else 40)


@pytest.mark.parametrize("path", ["s3://bucket/ckpt", "s3://bucket/ckpt/model.safetensors"])
def test_safetensors_in_a_bucket_load_by_folder_and_by_file(bucket: dict[str, Any], tmp_path: Path, path: str) -> None:
    tensor = filled(300, 4)
    header = build_header({"a": (tensor.dtype, (300, 4))}, {})
    (tmp_path / "model.safetensors").write_bytes(header + tensor.view(torch.uint8).numpy().tobytes())
    Ranges.folder = tmp_path
    ours = load({"a": torch.zeros(300, 4)}, ParallelFileSystemReader(path, storage_options=bucket))
    assert same(ours["a"], tensor)


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A sealed checkpoint, of whose items two of equal shapes were exchanged afterwards: each is whole in itself."""
    folder = save({"a": filled(300, seed=1), "b": filled(300, seed=2)}, tmp_path / "sealed")
    seal_of(folder)
    return folder


def seal_of(folder: Path) -> None:
    parts, problems = parts_of(folder)
    assert problems == []
    seal_checkpoint(folder, [verify_part(part, CheckpointConfig()) for part in parts])


def exchange(folder: Path) -> None:
    places = {index.fqn: info for index, info in ParallelFileSystemReader(folder).read_metadata().storage_data.items()}
    assert places["a"].length == places["b"].length
    data = bytearray((folder / "__0_0.distcp").read_bytes())
    ranges = [slice(places[name].offset, places[name].offset + places[name].length) for name in ("a", "b")]
    data[ranges[0]], data[ranges[1]] = data[ranges[1]], data[ranges[0]]
    (folder / "__0_0.distcp").write_bytes(data)


def load_sealed(place: str, kind: str, options: dict[str, Any]) -> dict[str, Any]:
    state = {"a": torch.zeros(300), "b": torch.zeros(300)}
    return load(state, ParallelFileSystemReader(place, verify="crc", storage_options=options if kind == "s3" else None))


@pytest.mark.parametrize("kind", ["s3", "http", "memory", "file"])
def test_a_seal_is_looked_at_wherever_the_checkpoint_is(kind: str, bucket: dict[str, Any], sealed: Path) -> None:
    Ranges.folder = sealed
    memory = f"memory://{uuid.uuid4().hex}"
    places = {"s3": BLANK_S3, "http": f"{bucket['endpoint_url']}/ckpt", "memory": memory, "file": f"file://{sealed}"}

    def upload() -> None:
        for path in sealed.iterdir():
            fsspec.filesystem("memory").pipe_file(f"{memory}/{path.name}", path.read_bytes())

    upload()
    assert same(load_sealed(places[kind], kind, bucket)["a"], filled(300, seed=1))
    exchange(sealed)
    upload()
    with pytest.raises(dcp.api.CheckpointException, match="not what was sealed") as caught:
        load_sealed(places[kind], kind, bucket)
    error = cause_of(caught.value)
    assert isinstance(error, CheckpointError)
    assert {problem.tensor for problem in error.problems} == {"a", "b"}
    assert not error.touched


def test_another_metadata_than_the_sealed_one_is_noticed_in_a_bucket(bucket: dict[str, Any], sealed: Path) -> None:
    Ranges.folder = sealed
    metadata = ParallelFileSystemReader(sealed).read_metadata()
    (sealed / ".metadata").write_bytes(pickle.dumps(metadata, 2))
    with pytest.raises(dcp.api.CheckpointException, match="not the metadata that was sealed"):
        load_sealed(BLANK_S3, "s3", bucket)


def test_a_seal_that_may_not_be_read_is_never_taken_for_none(bucket: dict[str, Any], sealed: Path) -> None:
    Ranges.folder, Bucket.forbidden = sealed, SEAL_NAME
    with pytest.raises(dcp.api.CheckpointException, match=SEAL_NAME.replace(".", r"\.")):
        load_sealed(BLANK_S3, "s3", bucket)
