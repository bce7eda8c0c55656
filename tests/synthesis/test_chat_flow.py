"""The flow with a chat model behind a real server: tool calls of both forms, what is paid for, and what a kill costs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from millrace.config import load_config
from millrace.llm.mock_server.serve import LocalServer
from millrace.llm.run_chats import ledger_of_run
from millrace.run.journal import read_json, read_jsonl
from millrace.synthesis.runs.synthesis_run import run_serially
from millrace.synthesis.settings import SynthesisConfig
from tests.e2e.commands import Command, run
from tests.llm.servers import served
from tests.synthesis.served_model import native_model, plain_model

pytestmark = [pytest.mark.slow]

WORKERS, SEEDS_IN_FLIGHT, BRANCHES = 2, 2, 2


def settings(url: str, form: str) -> list[str]:
    return [
        "environment_mode=math", "policy=chat", "number_of_seed=8", "seeds_per_shard=4", "max_depth=3", "depth_threshold=1",
        "max_selected_traj=2", "near_duplicate=1", f"branching_factor={BRANCHES}", f"chat.tool_calls={form}",
        f"chat.seeds_in_flight={SEEDS_IN_FLIGHT}",
        f"chat.model={{model: explorer, endpoints: [{{base_url: '{url}'}}], price: {{input_usd: 1, output_usd: 2}}}}",
    ]  # fmt: skip


def options(url: str, form: str, folder: Path) -> list[str]:
    """Without Prefect and Dask; endpoints asked by Dask workers: tests/e2e/test_endpoints.py."""
    pairs = [part for value in (*settings(url, form), f"max_workers={WORKERS}", "cluster=none") for part in ("--set", value)]
    return [*pairs, "--run-dir", str(folder)]


def test_a_server_without_tool_calls_is_asked_in_words_and_every_call_stands_in_the_ledger(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "run"
    with served(plain_model()) as (server, url):
        code, printed = run("synthesis", *options(url, "json", folder), cache=cache)
        said = server.statistics()
    assert code == 0, printed
    items = list(read_jsonl(folder / "qa.jsonl"))  # a program reads these questions and computes their answers
    assert len(items) == 16
    assert {item["verification"]["status"] for item in items} == {"verified"}
    assert {item["verifier"]["name"] for item in items} == {"math/exact-tool@1"}
    summary = read_json(folder / "summary.json")
    assert said["given"] == {}
    assert sum(row["calls"] for row in summary["paid"]) == said["answered"] == summary["cost"]["llm_calls"]
    assert {row["stage"] for row in summary["paid"]} == {"explore", "write"}
    assert sum(row["cost_usd"] for row in summary["paid"]) == pytest.approx(summary["cost"]["usd"])
    assert "explorer" in (folder / "report.html").read_text()


def test_a_server_that_goes_away_ends_the_run_in_one_sentence_and_keeps_what_was_paid_for(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "run"
    with served(native_model(), latency_ms=150) as (server, url):
        arguments = [*options(url, "native", folder), "--set", "chat.model.give_up_after_s=2"]
        command = Command("synthesis", *arguments, cache=cache)
        wait_for_answers(server, 10)
    code, printed = command.finish()
    command.wait_until_nothing_is_left()
    assert code == 1
    assert url.removesuffix("/v1") in printed
    assert "Traceback" not in printed
    assert "a worker process ended" not in printed
    assert sum(row.calls for row in ledger_of_run(folder)) >= 10


def wait_for_answers(server: LocalServer, count: int) -> None:
    deadline = time.monotonic() + 200
    while server.statistics()["answered"] < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.chaos
def test_a_killed_run_pays_again_only_for_what_was_in_flight_and_ends_with_the_same_items(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "run"
    with served(native_model(), latency_ms=150) as (server, url):
        command = Command("synthesis", *options(url, "native", folder), cache=cache)
        wait_for_answers(server, 20)
        command.kill()
        command.wait_until_nothing_is_left()
        assert not (folder / "summary.json").exists()
        code, printed = run("synthesis", *options(url, "native", folder), cache=cache)
        assert code == 0, printed
        said = server.statistics()
    assert said["answered_twice"] <= WORKERS * SEEDS_IN_FLIGHT * BRANCHES
    with served(native_model()) as (server, url):
        config = load_config(SynthesisConfig, None, settings(url, "native"))
        run_serially(config, tmp_path / "serial")
        assert server.statistics()["distinct"] == said["distinct"]
    undisturbed = {item["qa_id"]: item for item in read_jsonl(tmp_path / "serial" / "qa.jsonl")}
    again = {item["qa_id"]: item for item in read_jsonl(folder / "qa.jsonl")}
    assert again
    for item in (*undisturbed.values(), *again.values()):
        item["provenance"].pop("run_id")  # it names the config, and with it the server's address
    assert again == undisturbed
