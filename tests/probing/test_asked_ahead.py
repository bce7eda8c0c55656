"""Probing in batches: the outcomes of a run that asks live, few batches, and nothing paid twice through a kill."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from millrace.errors import UsageError
from millrace.llm.batches.folder import batches_below
from millrace.llm.mock_server.http_server import Incoming, Outgoing
from millrace.llm.mock_server.serve import LocalServer
from millrace.llm.providers.scripted import ScriptedChat
from millrace.llm.run_chats import FOLDER, close_run_chats, ledger_of_run
from millrace.probing.ask import ask_shard
from millrace.probing.asked_ahead import ask_ahead, check_batches
from millrace.probing.asking_again.another_judge import rejudge_shard
from millrace.probing.claims import load_claims
from millrace.probing.settings import ProbingConfig
from millrace.records.batches import BatchCounts
from millrace.run.journal import read_jsonl, write_jsonl
from tests.llm.servers import served
from tests.probing.test_endpoints import probed, run_folder, told, voter

LINES = Path(__file__).parents[1] / "records" / "lines"
ROOT = Path(__file__).resolve().parents[2]
PRICE = {"input_usd": 1.0, "output_usd": 1.0}
IMAGES = 6


@pytest.fixture(autouse=True)
def _closed_afterwards() -> Iterator[None]:
    yield
    close_run_chats()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A lake of images without any annotation: subjects, answers and votes all come from models."""
    rows = []
    for number in range(IMAGES):
        out = io.BytesIO()
        Image.new("RGB", (64, 48), (40 * number, 90, 160)).save(out, "PNG")
        rows.append({"image_id": f"photo{number}", "jpg": out.getvalue()})
    (tmp_path / "photos").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "photos" / "a.parquet")
    return tmp_path / "photos"


def chat(url: str, model: str, mode: str = "batch") -> dict[str, Any]:
    batch = {"gather_s": 1.5, "poll_s": 0.02}
    return {"model": model, "endpoints": [{"base_url": url}], "mode": mode, "batch": batch, "price": PRICE}


def config_of(lake: Path, url: str, mode: str = "batch", **changed: Any) -> ProbingConfig:
    whole = {
        "lake": {"path": str(lake)},
        "baseline": {"name": "endpoint", "chat": chat(url, "asked", mode)},
        "judge": {"name": "endpoint", "chats": [chat(url, "one", mode), chat(url, "two", mode), chat(url, "three", mode)]},
        "target_failure_count": None,
        "seed": 7,
        **changed,
    }
    return ProbingConfig.model_validate(whole)


def outcomes(run: Path, config: ProbingConfig) -> list[dict[str, Any]]:
    assert config.lake.path is not None
    return probed(run, config.lake.path, config.baseline, config.judge)


NAMES = ["asked", "one", "two", "three"]


def serving(**plan: Any) -> Any:
    return served(ScriptedChat(voter(True, True)), **plan)


def named(server: LocalServer) -> None:
    server.names = tuple(NAMES)


@pytest.mark.parametrize("faults", [{}, {"expired": 1, "half_failed": 1, "submit_lost": 1}])
def test_outcomes_are_those_of_a_live_run_and_each_answer_is_paid_once_at_half_the_price(
    tmp_path: Path, photos: Path, faults: dict[str, int]
) -> None:
    with serving() as (server, url):
        named(server)
        live = outcomes(run_folder(tmp_path / "live"), config_of(photos, url, "live"))
        close_run_chats()
        asked = server.statistics()["distinct"]
    dollars = sum(row.cost_usd for row in ledger_of_run(tmp_path / "live"))
    shown: list[BatchCounts] = []
    with serving(batch_faults=faults) as (server, url):
        named(server)
        run, config = run_folder(tmp_path / "batch"), config_of(photos, url)
        ask_ahead(config, photos, run, shown.append)
        given = server.statistics()
        assert (given["answered"], given["distinct"], given["answered_twice"]) == (asked, asked, 0)
        # what the judges are asked about, the claims, and one for each judge; a fault makes one more of it
        assert server.batches.made == 5 + len(faults) - ("submit_lost" in faults)
        there = outcomes(run, config)
        assert server.statistics()["requests"] == given["requests"], "the ranks ask nothing more"
    close_run_chats()
    assert told(there) == told(live)
    assert [record["outcome"] for record in there] == [record["outcome"] for record in live]
    assert {record["outcome"] for record in there} == {"correct"}
    assert sum(row.cost_usd for row in ledger_of_run(run)) == pytest.approx(dollars / 2)
    last = shown[-1]
    assert (last.running, last.submitted) == (0, server.batches.made)
    assert last.words() == f"{last.submitted} batches handed in, 0 under way, {last.submitted} done"


CLIENT = """
import sys
from pathlib import Path
from millrace.probing.asked_ahead import ask_ahead
from millrace.probing.settings import ProbingConfig
config = ProbingConfig.model_validate_json(Path(sys.argv[1]).read_text())
ask_ahead(config, config.lake.path, Path(sys.argv[2]), lambda counts: None)
"""


MOMENTS = 3
"""Batches at whose submission the process is killed: that of the subjects, of the claims and of the first judge."""


@pytest.mark.chaos
def test_a_kill_at_the_worst_moment_of_each_batch_pays_for_nothing_twice(tmp_path: Path, photos: Path) -> None:
    """The process is killed by SIGKILL when the server has taken a batch and has not said so."""
    with serving() as (server, url):
        named(server)
        run, config = run_folder(tmp_path / "run"), tmp_path / "config.json"
        config.write_text(config_of(photos, url).model_dump_json())
        handle, process, taken = server.files.handle, None, set[str]()
        there = threading.Event()

        async def kills(incoming: Incoming) -> Outgoing | None:
            answer = await handle(incoming)
            if incoming.method == "POST" and incoming.path == "/v1/batches" and answer is not None:
                name = orjson.loads(incoming.body)["metadata"]["millrace"]
                assert name not in taken, "the same batch was handed in twice"
                taken.add(name)
                there.wait(10)
                assert process is not None
                if len(taken) <= MOMENTS:
                    os.kill(process.pid, signal.SIGKILL)
            return answer

        server.of_batches = [kills]
        kills_seen = 0
        while True:
            there.clear()
            process = subprocess.Popen([sys.executable, "-c", CLIENT, str(config), str(run)], cwd=ROOT)
            there.set()
            if process.wait(60) == 0:
                break
            kills_seen += 1
        given = server.statistics()
        assert kills_seen == MOMENTS
        assert len(taken) == server.batches.made == 5
        assert given["answered_twice"] == 0
        claims = len(load_claims("default").claims)
        found = outcomes(run, config_of(photos, url))
        assert [record["outcome"] for record in found] == ["correct"] * IMAGES * claims
        assert server.statistics()["requests"] == given["requests"]
        assert {record.status for record in batches_below(run / FOLDER)} == {"collected"}


def test_another_judge_in_batches_asks_one_batch_for_a_shard_and_judges_as_a_live_one(tmp_path: Path, photos: Path) -> None:
    with serving() as (server, url):
        named(server)
        config = config_of(photos, url, "live")
        live = outcomes(run_folder(tmp_path / "live"), config)
        earlier, run = tmp_path / "live" / "unit.jsonl", run_folder(tmp_path / "again")
        asked = server.statistics()["answered"]
        again = config_of(photos, url).model_dump(mode="json")
        rejudge_shard(earlier, run / "shard-00000.jsonl", photos, again)
        assert server.batches.made == 3, "one for each judge"
        assert server.statistics()["answered"] - asked == 3 * len(live)
        assert told(list(read_jsonl(run / "shard-00000.jsonl"))) == told(live)


def test_questions_are_put_to_a_model_in_one_batch_for_a_shard(tmp_path: Path, photos: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    line = next(read_jsonl(LINES / "qa.jsonl"))
    lines = []
    for number in range(30):
        image = {"image_id": f"photo{number % IMAGES}", "file": "a.parquet", "row": number % IMAGES, "sha256": ""}
        asked = {"id": f"q{number}", "question": f"What is ___ ({number})?", "options": {}, "question_type": "fill_in_blank"}
        lines.append({**line, **asked, "image": image})
    write_jsonl(questions, lines)
    with served(ScriptedChat(lambda request: orjson.dumps({"answer": request.messages[-1].text[-60:]}).decode())) as (
        server,
        url,
    ):
        named(server)
        run = run_folder(tmp_path / "run")
        ask_shard(questions, run / "asked.jsonl", photos, {"name": "endpoint", "chat": chat(url, "asked")})
        assert server.batches.made == 1
        assert server.statistics()["answered_twice"] == 0
    found = list(read_jsonl(run / "asked.jsonl"))
    assert len(found) == 30
    assert all(one["answers"] for one in found)


def test_what_cannot_be_known_beforehand_is_refused(tmp_path: Path) -> None:
    url = "http://a/v1"
    with pytest.raises(UsageError, match="set target_failure_count: null"):
        check_batches(config_of(tmp_path, url, target_failure_count=10))
    with pytest.raises(UsageError, match="max_empty_batches: null"):
        check_batches(config_of(tmp_path, url, max_empty_batches=3))
    with pytest.raises(UsageError, match="millrace rejudge RUN"):
        check_batches(config_of(tmp_path, url, baseline={"name": "embedded"}))
    check_batches(config_of(tmp_path, url))
    check_batches(config_of(tmp_path, url, "live", target_failure_count=10))
