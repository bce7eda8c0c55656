"""The main job from end to end, with a baseline that tosses coins: the real one's training has tests of its own."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from millrace.run.journal import read_json
from tests.e2e.commands import Command, answer, run
from tests.e2e.records import records
from tests.e2e.services import wait_for
from tests.fixtures.running_services import Environment

pytestmark = [pytest.mark.flow, pytest.mark.timeout(900)]

KILLS = int(os.environ.get("MILLRACE_KILLS", "1"))
"""How often the chaos test kills; the acceptance run of a release does 20 (`MILLRACE_KILLS=20`)."""


def test_the_funnel_adds_up_in_the_summary(undisturbed: Path) -> None:
    summary = read_json(undisturbed / "summary.json")
    assert summary["status"] == "finished"
    for name, stage in summary["stages"].items():
        assert stage["in"] == stage["out"] + sum(stage["dropped"].values()), name
        assert stage["seconds"] > 0
    assert summary["stages"]["probing"]["out"] == sum(summary["outcomes"].values()) == summary["stages"]["filtering"]["in"]
    assert summary["stages"]["filtering"]["out"] == summary["stages"]["qa"]["in"]
    assert summary["dataset"]["rows"] == summary["stages"]["qa"]["out"] == len(records(undisturbed)["dataset"])
    assert set(summary["failure_rates"]) == {
        record["claim_id"] for record in records(undisturbed)["probing"] if record["claim_id"]
    }
    for rate in summary["failure_rates"].values():
        assert 0 <= rate["low"] <= rate["rate"] == rate["failures"] / rate["n"] <= rate["high"] <= 1


def test_every_item_is_verified_and_traces_back_to_its_failure(undisturbed: Path) -> None:
    found = records(undisturbed)
    outcomes = {record["id"]: record for record in found["probing"] if record["kind"] == "outcome"}
    selections = {record["id"]: record for record in found["filtering"]}
    assert len(found["qa"]) > 30
    for item in found["qa"]:
        assert item["verification"]["status"] == "verified"
        assert item["difficulty"]["asked"] == 1
        selection = selections[item["lineage"]["selection_id"]]
        outcome = outcomes[selection["lineage"]["outcome_id"]]
        assert outcome["failure_id"] == item["lineage"]["failure_id"] is not None
        assert outcome["image"]["sha256"] == item["image"]["sha256"]
        if item["options"]:
            assert item["answer"] in item["options"]


def test_the_report_stands_alone_and_names_every_claim(undisturbed: Path) -> None:
    page = (undisturbed / "report.html").read_text()
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert page.count("data:image/") >= 8
    assert str(read_json(undisturbed / "summary.json")["dataset"]["rows"]) in page


def test_a_finished_run_says_so_at_once_and_another_config_is_refused(undisturbed: Path, cache: Path, coin_config: Path) -> None:
    arguments = ("--config", str(coin_config), "--run-dir", str(undisturbed))
    started = time.monotonic()
    code, printed = answer("full", *arguments, cache=cache)
    assert (code, "is finished" in printed) == (0, True)
    assert time.monotonic() - started < 20  # 0.7 s on an idle machine; no server, no cluster
    code, printed = answer("full", *arguments, "--set", "qa.language=zh", cache=cache)
    assert code == 2
    assert "qa.language: 'en' there, 'zh' now" in printed


def test_stages_run_by_themselves_on_an_existing_server_and_cluster_give_the_same_records(
    undisturbed: Path, tmp_path: Path, cache: Path, coin_config: Path, on_running_services: Environment
) -> None:
    folder = tmp_path / "run"
    text = coin_config.read_text()
    for name in ("probing", "filtering", "qa"):
        config = tmp_path / f"{name}.yaml"
        part = {"probing": text.split("filtering:")[0], "filtering": "filtering:" + text.split("filtering:")[1], "qa": ""}[name]
        config.write_text(part)
        code, printed = run(name, "--config", str(config), "--run-dir", str(folder), cache=cache, **on_running_services)
        assert code == 0, printed
    alone, together = records(folder), records(undisturbed)
    assert alone == together


PROGRESS = ("probing/*/unit-*", "qa/written/*", "filtering/shard-*")
"""What shows that a stage is under way: where the first kill falls, the second, and so on."""


@pytest.mark.chaos
def test_kill_minus_nine_and_other_numbers_of_ranks_and_workers_change_no_record(
    undisturbed: Path, tmp_path: Path, cache: Path, coin_config: Path
) -> None:
    """With servers and clusters of its own, the last of which come to a normal end.

    What a kill at any other point leaves is taken up again in tests/run/test_crash_points.py.
    """
    folder = tmp_path / "run"
    rng = random.Random(7)
    arguments = ("--config", str(coin_config), "--run-dir", str(folder))
    for kill in range(KILLS):
        size = ("--set", f"cluster.workers={2 - kill % 2}", "--set", f"probing.torchrun.nproc_per_node={1 + kill % 2}")
        command = Command("full", *arguments, *size, cache=cache)
        wait_for(lambda kill=kill: any(folder.glob(PROGRESS[kill % len(PROGRESS)])), "sign of the stage", 200)  # type: ignore[misc]
        time.sleep(rng.uniform(0, 0.5))
        assert command.witness.poll() is None, "it ended before it was killed"
        command.kill()
        command.wait_until_nothing_is_left()
    arguments += ("--set", "probing.torchrun.nproc_per_node=4", "--set", "cluster.workers=2")
    code, printed = run("full", *arguments, cache=cache)
    assert code == 0, printed
    assert records(folder) == records(undisturbed)
