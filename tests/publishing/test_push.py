"""`millrace push`, against a local server that speaks as much of the Hub's API as a commit needs."""

from __future__ import annotations

import base64
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.cli import main
from millrace.qa.dataset.dataset_card import CardFacts
from millrace.qa.dataset.write_dataset import write_dataset
from millrace.qa.settings import QaSettings
from millrace.synthesis.runs.synthesis_run import run_serially
from millrace.synthesis.settings import SynthesisConfig
from tests.fixtures.questions import Stage

TOKEN = "a-token-that-nobody-has"


class Hub(ThreadingHTTPServer):
    """Repositories as files in memory."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Requests)
        self.made: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()
        self.paths: list[str] = []
        self.refuse = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Requests(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        hub = self.server
        hub.tokens.add(self.headers["Authorization"])
        hub.paths.append(self.path)
        if hub.refuse:
            self.answer(403, {"error": f"no write access with {self.headers['Authorization']}"})
        elif self.path == "/api/repos/create":
            hub.made.append(json.loads(body))
            self.answer(200, {"url": f"{hub.address}/datasets/me/numbers"})
        elif self.path == "/api/validate-yaml":
            self.answer(200, {"warnings": [], "errors": []})
        elif self.path.endswith("/preupload/main"):
            files = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(body)["files"]]
            self.answer(200, {"files": files})
        elif self.path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer(200, {"commitUrl": f"{hub.address}/datasets/me/numbers/commit/abc", "commitOid": "abc", "success": True})
        else:
            self.answer(404, {"error": self.path})

    def answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *said: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("push")
    (folder / "seeds.txt").write_text("prime numbers\ndivisors\n")
    run_serially(
        SynthesisConfig(environment_mode="math", seeds=folder / "seeds.txt", max_depth=3, exports=["chat", "verl"]),
        folder / "run",
    )
    return folder / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def push(*words: str | Path) -> int:
    return main(["push", *map(str, words)])


def test_without_send_the_files_are_shown_and_no_server_is_asked(run: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert push(run, "me/numbers", "--license", "cc0-1.0", "--endpoint", hub.address) == 0
    said = capsys.readouterr().out
    rows = len((run / "qa.jsonl").read_bytes().splitlines())
    assert f"{rows} verified; licence cc0-1.0" in said
    assert f"verified.parquet: {rows} rows" in said
    assert "judged" not in said
    assert "Nothing was sent" in said
    assert hub.paths == []


def test_send_commits_every_file_with_a_card_that_names_the_licence(
    run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    words = ("--license", "cc0-1.0", "--endpoint", hub.address, "--token-env", "MY_TOKEN", "--private", "--send")
    assert push(run, "me/numbers", *words) == 0
    said = capsys.readouterr()
    assert f"Sent: {hub.address}/datasets/me/numbers/commit/abc" in said.out
    assert TOKEN not in said.out + said.err
    assert hub.tokens == {f"Bearer {TOKEN}"}
    assert [(made["name"], made["type"]) for made in hub.made] == [("numbers", "dataset")]
    assert hub.made[0].get("private") is True or hub.made[0].get("visibility") == "private"
    there = {
        path.relative_to(run / "dataset").as_posix(): path.read_bytes() for path in (run / "dataset").rglob("*") if path.is_file()
    }
    card = hub.files.pop("README.md").decode()
    own = there.pop("README.md").decode()
    assert hub.files == there
    assert "license: cc0-1.0" in card.split("---")[1]
    assert "config_name: verified" in card.split("---")[1]
    assert card.split("---\n", 2)[2] == own.split("---\n", 2)[2]
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def refused(capsys: pytest.CaptureFixture[str], hub: Hub, code: int, *words: str | Path) -> str:
    assert push(*words, "--endpoint", hub.address) == code
    assert hub.files == {}
    return capsys.readouterr().err


def test_no_licence_no_token_and_no_name_of_a_repository_are_refused_before_anything_is_sent(
    run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert "--license" in refused(capsys, hub, 2, run, "me/numbers", "--send")
    assert "HF_TOKEN is not set" in refused(capsys, hub, 2, run, "me/numbers", "--license", "cc0-1.0", "--send")
    assert "owner/name" in refused(capsys, hub, 2, run, "numbers", "--license", "cc0-1.0")
    assert "no finished dataset" in refused(capsys, hub, 2, run.parent, "me/numbers", "--license", "cc0-1.0")
    assert hub.paths == []


def test_what_is_not_as_the_run_wrote_it_or_not_verified_is_refused(
    run: Path, hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    words: tuple[str | Path, ...] = (run, "me/numbers", "--license", "cc0-1.0", "--send")
    data = run / "dataset"
    chat, table = (data / "chat.jsonl").read_bytes(), pq.read_table(data / "verified.parquet")

    (data / "chat.jsonl").write_bytes(chat.replace(b"assistant", b"assistent", 1))
    assert "SHA-256 differs" in refused(capsys, hub, 2, *words)
    (data / "chat.jsonl").unlink()
    assert "is missing" in refused(capsys, hub, 2, *words)
    (data / "chat.jsonl").write_bytes(chat)

    (data / "more.jsonl").write_text('{"id": "mine"}\n')
    assert "was not written by this run" in refused(capsys, hub, 2, *words)
    (data / "more.jsonl").unlink()

    column = table.schema.get_field_index("status")
    judged = pa.array(["verified"] * (table.num_rows - 1) + ["judged"])
    pq.write_table(table.set_column(column, "status", judged), data / "verified.parquet")
    assert "says that it is 'judged'" in refused(capsys, hub, 2, *words)
    foreign = pa.array(["qa_000000000000", *table["qa_id"].to_pylist()[1:]])
    pq.write_table(table.set_column(0, "qa_id", foreign), data / "verified.parquet")
    assert "no verified item 'qa_000000000000'" in refused(capsys, hub, 2, *words)


def test_a_row_for_training_that_says_judged_is_not_sent_among_the_verified(
    run: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    from hashlib import sha256

    data, statistics = run / "dataset", orjson.loads((run / "statistics.json").read_bytes())
    for name in ("chat.jsonl", "verl.jsonl"):
        rows = [orjson.loads(line) for line in (data / name).read_bytes().splitlines()]
        (rows[0]["extra_info"] if name == "verl.jsonl" else rows[0])["status"] = "judged"
        spoilt = b"".join(orjson.dumps(row) + b"\n" for row in rows)
        kept = (data / name).read_bytes()
        (data / name).write_bytes(spoilt)
        changed = {**statistics, "files": {**statistics["files"], f"dataset/{name}": sha256(spoilt).hexdigest()}}
        (run / "statistics.json").write_bytes(orjson.dumps(changed))
        assert "says that it is 'judged'" in refused(capsys, hub, 2, run, "me/numbers", "--license", "cc0-1.0")
        (data / name).write_bytes(kept)


def test_a_server_that_refuses_is_told_without_the_token_and_a_file_that_holds_it_is_not_sent(
    run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.refuse = True
    said = refused(capsys, hub, 1, run, "me/numbers", "--license", "cc0-1.0", "--send")
    assert "refused me/numbers" in said
    assert TOKEN not in said
    hub.refuse = False
    monkeypatch.setenv("HF_TOKEN", "tool_call_id")
    assert "holds the token itself" in refused(capsys, hub, 2, run, "me/numbers", "--license", "cc0-1.0", "--send")


def test_a_dataset_of_questions_about_pictures_is_shown_by_its_manifest(
    stage: Stage, accepted: list[Path], tmp_path: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    report = write_dataset(accepted, run / "dataset", tmp_path / "lost.jsonl", stage.lake, QaSettings(), CardFacts())
    assert "the card says 'other'" in refused(capsys, hub, 2, run, "me/pictures")
    assert push(run, "me/pictures", "--license", "cc0-1.0") == 0
    said = capsys.readouterr().out
    assert f"{report.rows:,} verified" in said
    assert all(name in said for name in (*report.files, "README.md", "manifest.json"))
