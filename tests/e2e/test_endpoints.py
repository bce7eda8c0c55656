"""The main job with chat models for every role: whatever the line does, the same records, and every call paid once.

Half of the images have an annotation, half have none: the first are judged and asked about by programs, the others by models. So
one small run calls everything: a baseline, three judges, a writer, two answerers, the blind check, the difficulty check.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from millrace.llm.mock_server.serve import LocalServer
from millrace.llm.run_chats import ledger_of_run
from millrace.reporting import charts
from millrace.run.journal import read_json
from tests.e2e.commands import Command, answer, run
from tests.e2e.crowd import crowd
from tests.e2e.records import records
from tests.fixtures.running_services import KEY
from tests.llm.servers import served

pytestmark = [pytest.mark.flow, pytest.mark.timeout(900)]

KILLS = int(os.environ.get("MILLRACE_KILLS", "1"))
"""How often the chaos test kills; the acceptance run of a release does 20 (`MILLRACE_KILLS=20`)."""

FAULTS = {"500": 0.05, "429": 0.05, "reset": 0.02, "malformed": 0.02}
CALLS = re.compile(r"^(\w+): at most ([\d,]+) calls of ([\w-]+),", re.MULTILINE)
IMAGES = 16
IN_FLIGHT = 8


class Servers(NamedTuple):
    """Three models on servers of their own."""

    servers: tuple[LocalServer, ...]
    urls: tuple[str, ...]

    def total(self, name: str) -> int:
        return sum(server.statistics()[name] for server in self.servers)


@contextlib.contextmanager
def crowds(**plan: Any) -> Iterator[Servers]:
    with contextlib.ExitStack() as stack:
        pairs = [stack.enter_context(served(crowd(opinion), key=KEY, **plan)) for opinion in ("", "-b", "-c")]
        servers, urls = zip(*pairs, strict=True)
        yield Servers(servers, urls)


def config_for(servers: Servers, lake: Path, path: Path) -> Path:
    def chat(number: int) -> str:
        endpoint = f"{{base_url: '{servers.urls[number]}', api_key_env: CROWD_KEY}}"
        known = f"model: {servers.servers[number].model.name}, price: {{input_usd: 1, output_usd: 2}}"
        return f"{{{known}, endpoints: [{endpoint}], max_in_flight: {IN_FLIGHT}}}"

    path.write_text(
        "probing:\n"
        f"  lake: {{path: {lake}}}\n"
        f"  baseline: {{name: endpoint, chat: {chat(0)}}}\n"
        f"  judge: {{name: endpoint, chats: [{chat(0)}, {chat(1)}, {chat(2)}]}}\n"
        "  target_failure_count: null\n"  # up to a target ranks probe a little more than is used, so the number of calls varies
        f"  sample_size: {2 * IMAGES}\n"
        "  failure_batch_size: 4\n"
        "  torchrun: {device: cpu}\n"
        "filtering: {failures_per_image: null, quota: 6, shard_size: 20}\n"
        "qa:\n"
        # a blind question is asked again in another order of its options, and by chance in the same: the server can't tell
        f"  writer: {{name: endpoint, chat: {chat(0)}, answerers: [{chat(0)}, {chat(1)}], blind_tries: 1}}\n"
        "  question_type_ratio: {multiple_choice: 1, fill_in_blank: 0, yes_no: 0}\n"
    )
    return path


@pytest.fixture(scope="module", autouse=True)
def _key() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CROWD_KEY", KEY)
        patch.setenv("ANOTHER_KEY", "sk-a-key-of-somewhere-else-00000000")
        yield


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digit scenes with their annotation, and noise without one."""
    folder = tmp_path_factory.mktemp("lake")
    pytest.importorskip("millrace.digits.lake_build").build_lake(folder, images=IMAGES, pool="probe", seed=3)
    rows = []
    for number in range(IMAGES):
        out = io.BytesIO()
        pixels = np.random.default_rng(number).integers(0, 255, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(out, "PNG")
        rows.append({"image_id": f"photo{number}", "jpg": out.getvalue()})
    pq.write_table(pa.Table.from_pylist(rows), folder / "photos.parquet")
    return folder


class Run(NamedTuple):
    """A finished run, what it printed, and the servers it asked."""

    folder: Path
    printed: str
    servers: Servers
    config: Path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache: Path, lake: Path) -> Iterator[Run]:
    """A run without Prefect and Dask, against servers that do nothing wrong."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with crowds() as servers:
        config = config_for(servers, lake, folder / "config.yaml")
        arguments = ("--config", str(config), "--run-dir", str(folder / "run"), "--set", "cluster=none")
        code, printed = run("full", *arguments, cache=cache)
        assert code == 0, printed
        yield Run(folder / "run", printed, servers, config)


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory, cache: Path, lake: Path) -> Iterator[Run]:
    """The same with Prefect and Dask, against servers that do."""
    folder = tmp_path_factory.mktemp("disturbed")
    with crowds(faults=FAULTS, retry_after_s=0.3) as servers:
        config = config_for(servers, lake, folder / "config.yaml")
        code, printed = run("full", "--config", str(config), "--run-dir", str(folder / "run"), cache=cache)
        assert code == 0, printed
        yield Run(folder / "run", printed, servers, config)


def test_every_role_is_played_by_a_model_and_the_funnel_adds_up(undisturbed: Run) -> None:
    summary = read_json(undisturbed.folder / "summary.json")
    for name, stage in summary["stages"].items():
        assert stage["in"] == stage["out"] + sum(stage["dropped"].values()), name
    assert summary["outcomes"]["infra_error"] == 0
    assert {row["stage"] for row in summary["paid"]} == {"baseline", "subject", "judge", "write", "answer", "blind", "difficulty"}
    found = records(undisturbed.folder)
    assert {item["verification"]["status"] for item in found["qa"]} == {"verified", "judged"}
    assert all(item["difficulty"]["asked"] == 1 for item in found["qa"])
    assert {(record["judge"] or {}).get("kind") for record in found["probing"] if record["kind"] == "outcome"} >= {
        "verified",
        "judged",
    }


def test_behind_faulty_servers_the_records_are_the_same_and_no_failure_is_charged_to_the_model(
    undisturbed: Run, disturbed: Run
) -> None:
    given = sum((sum(server.statistics()["given"].values()) for server in disturbed.servers.servers), 0)
    assert given > 20
    assert records(disturbed.folder) == records(undisturbed.folder)


def test_no_call_is_repeated_beyond_its_retries_and_the_ledger_agrees_with_the_servers(undisturbed: Run, disturbed: Run) -> None:
    for one in (undisturbed, disturbed):
        rows = ledger_of_run(one.folder)
        assert one.servers.total("answered_twice") == 0
        assert sum(row.calls for row in rows) == one.servers.total("answered") == one.servers.total("distinct")
        assert sum(row.input_tokens for row in rows) > 0
        for server in one.servers.servers:
            said = server.statistics()
            assert said["requests"] == said["answered"] + sum(said["given"].values())  # every fault was met once
    resets = sum(server.counts["reset"] for server in disturbed.servers.servers)
    sent = sum(row.requests for row in ledger_of_run(disturbed.folder))
    # a connection that breaks after a pause is taken for one that the server closed as idle, and opened anew without counting
    assert disturbed.servers.total("requests") - resets <= sent <= disturbed.servers.total("requests")


def test_the_key_is_in_nothing_that_a_run_writes_or_prints(disturbed: Run) -> None:
    files = [path for path in disturbed.folder.rglob("*") if path.is_file()]
    assert any(path.name == "prefect.db" for path in files)
    assert any("ranks" in path.parts for path in files)
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path
    assert KEY not in disturbed.printed


def test_what_was_paid_is_in_the_report(disturbed: Run) -> None:
    summary = read_json(disturbed.folder / "summary.json")
    page = (disturbed.folder / "report.html").read_text()
    usd = sum(row["cost_usd"] for row in summary["paid"])
    assert usd > 0
    assert f"${usd:.4f}" in page
    assert all(stage in page for stage in ("baseline", "subject", "judge", "write", "answer", "blind"))


def test_the_judges_agreement_is_in_summary_and_report(undisturbed: Run) -> None:
    judges = read_json(undisturbed.folder / "summary.json")["judges"]
    judged = [record for record in records(undisturbed.folder)["probing"] if (record.get("judge") or {}).get("votes")]
    assert judges["n"] == len(judged) > 0
    unanimous = sum(len(set(record["judge"]["votes"].values())) == 1 for record in judged)
    assert judges["unanimous"] == unanimous < len(judged)
    assert set(judges["with_majority"]) == {"crowd", "crowd-b", "crowd-c"}
    page = (undisturbed.folder / "report.html").read_text()
    assert "crowd-b" in page
    assert f"{charts.percent(unanimous / len(judged))} of them unanimous" in page


def test_what_is_wrong_with_an_endpoint_is_one_sentence_before_any_work(tmp_path: Path, cache: Path, lake: Path) -> None:
    """The URL, the key and the model's name of each role; a GPU that is not there."""
    with crowds() as servers:
        config = config_for(servers, lake, tmp_path / "config.yaml")
        place = servers.urls[0]
        keyed = f"api_key_env: CROWD_KEY, base_url: '{place}'"
        baseline = "probing.baseline={{name: endpoint, chat: {{{}}}}}".format
        cases = {
            baseline(
                "model: crowd, endpoints: [{base_url: 'http://127.0.0.1:9/v1'}]"
            ): "no server answers at http://127.0.0.1:9/v1",
            baseline(f"model: crowd, endpoints: [{{base_url: '{place}'}}]"): "it wants a key",
            baseline(f"model: crowd, endpoints: [{{base_url: '{place}', api_key_env: ANOTHER_KEY}}]"): "the key was refused",
            baseline(
                "model: crowd, endpoints: [{base_url: http://x/v1, api_key_env: NOT_SET}]"
            ): "NOT_SET (api_key_env) is not set",
            baseline(f"model: crowds, endpoints: [{{{keyed}}}]"): "no model 'crowds'; did you mean 'crowd'?",
            f"qa.writer.chat.endpoints=[{{{keyed.replace('/v1', '/v2')}}}]": "/v2 does not know the model 'crowd' or the path",
            baseline(
                "provider: huggingface, endpoints: [], model: /no/such/folder"
            ): "there is no checkpoint folder /no/such/folder",
        }
        for change, said in cases.items():
            arguments = ("--config", str(config), "--run-dir", str(tmp_path / "run"), "--set", change)
            code, printed = answer("full", *arguments, cache=cache)
            assert (code, len(printed.strip().splitlines())) == (2, 1), printed
            assert said in printed
            assert "sk-" not in printed
        assert not (tmp_path / "run").exists()
        assert servers.total("requests") == servers.total("answered") == 0


def test_no_stage_asks_more_than_the_dry_run_said(undisturbed: Run, tmp_path: Path, cache: Path) -> None:
    arguments = ("--config", str(undisturbed.config), "--run-dir", str(tmp_path / "run"), "--dry-run")
    code, printed = answer("full", *arguments, cache=cache)
    assert code == 0
    planned = {(stage, model): int(calls.replace(",", "")) for stage, calls, model in CALLS.findall(printed)}
    paid = {(row.stage, row.model): row.calls for row in ledger_of_run(undisturbed.folder)}
    assert paid.keys() <= planned.keys()
    assert all(calls <= planned[name] for name, calls in paid.items())
    assert "together (an estimate): at most " in printed


@pytest.mark.chaos
def test_kill_minus_nine_with_endpoints_pays_nothing_twice_but_what_was_in_flight(
    undisturbed: Run, tmp_path: Path, cache: Path, lake: Path
) -> None:
    rng = random.Random(11)
    folder = tmp_path / "run"
    with crowds(latency_ms=30) as servers:
        config = config_for(servers, lake, tmp_path / "config.yaml")
        arguments = ("--config", str(config), "--run-dir", str(folder))
        wanted = undisturbed.servers.total("distinct")
        for kill in range(KILLS):
            goal = servers.total("answered") + rng.randrange(1, max(2, wanted // (KILLS + 1)))
            command = Command("full", *arguments, cache=cache)
            deadline = time.monotonic() + 200
            while servers.total("answered") < goal and time.monotonic() < deadline and command.witness.poll() is None:
                time.sleep(0.005)
            assert command.witness.poll() is None, f"it ended before kill {kill}"
            command.kill()
            command.wait_until_nothing_is_left()
        code, printed = run("full", *arguments, "--set", "cluster=none", cache=cache)
        assert code == 0, printed
        assert records(folder) == records(undisturbed.folder)
        assert servers.total("distinct") == wanted
        in_flight = sum(server.most_in_flight for server in servers.servers)
        assert servers.total("answered_twice") <= KILLS * in_flight
