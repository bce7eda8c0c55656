"""Backgrounds that load nothing: they are held back, given up and named, and not started again and again for ever."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from msgspec import to_builtins

from millrace.training.campaign import open_campaign
from millrace.training.experiments import plan_runs
from millrace.training.results.report import report_data

DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    time.sleep(60)
sys.exit(0)
"""


def run_beside(make_config, external, tmp_path, code: str, **restart: Any) -> dict[str, Any]:
    program = {"command": [sys.executable, "-I", "-S", "-c", code]}
    beside = {"workload": "idle", "id": "idle", "required": False}
    beside["restart"] = {"backoff_s": 0.05, "max_failures": 4, "shortest_s": 10.0} | restart  # a busy machine is slow
    job = {"workload": "good", "hyperparameters": {"epochs": 12, "pause": 0.5}, "mode": "parallel", "backgrounds": [beside]}
    config = make_config(job, external=external | {"idle": program}, colocation={"background_alone_s": 0})
    with open_campaign(config, tmp_path / "run") as campaign:
        (run,) = campaign.pending()
        return to_builtins(campaign.run_one(run))


@pytest.mark.parametrize("code", ["pass", "print('done')"])
def test_a_background_that_ends_well_at_once_is_held_back_given_up_and_named_in_the_report(code, make_config, external, tmp_path):
    record = run_beside(make_config, external, tmp_path, code)
    assert record["ok"], record["failure_detail"]
    (one,) = record["backgrounds"]
    assert (one["state"], one["restarts_by_cause"], one["starts"]) == ("fatal", {"ended_at_once": 4}, 4)
    assert one["state_s"]["backing_off"] > 0.05 + 0.1 + 0.2
    findings = report_data("", "", tmp_path / "run", []).findings
    assert any("idle was given up" in line and "so it loads nothing" in line for line in findings)


def test_a_background_that_puts_itself_into_the_background_is_told_as_such(make_config, external, tmp_path):
    (one,) = run_beside(make_config, external, tmp_path, DAEMON)["backgrounds"]
    assert one["state"] == "fatal"
    assert "left 1 process behind" in one["detail"]
    assert "into the background" in one["detail"]


def test_a_short_background_that_trains_goes_on_being_started(make_config, external, tmp_path):
    job = {"workload": "good", "hyperparameters": {"epochs": 6, "pause": 0.3}, "mode": "parallel"}
    job["backgrounds"] = [{"workload": "good", "id": "short", "hyperparameters": {"epochs": 2, "pause": 0.02}}]
    config = make_config(job, colocation={"windows": "shared", "background_alone_s": 0})
    with open_campaign(config, tmp_path / "run") as campaign:
        (run,) = campaign.pending()
        record = to_builtins(campaign.run_one(run))
    (one,) = record["backgrounds"]
    assert one["state"] == "stopped"
    assert set(one["restarts_by_cause"]) == {"completed"}


def test_a_foreground_that_puts_itself_into_the_background_is_told_as_such(make_config, external, tmp_path):
    program = {"command": [sys.executable, "-I", "-S", "-c", DAEMON], "metrics": {"acc": r"acc (\S+)"}}
    config = make_config({"workload": "daemon"}, external=external | {"daemon": program}, max_retries=0)
    with open_campaign(config, tmp_path / "run") as campaign:
        (run,) = campaign.pending()
        record = to_builtins(campaign.run_one(run))
    assert record["failure"] == "metrics_missing"
    assert "left 1 processes behind" in record["failure_detail"]


def test_settings_that_came_later_change_no_id_of_a_run_while_they_are_left_alone(make_config):
    lr = {"range": [0.1, 0.2]}
    parallel = {"workload": "lstm", "mode": "parallel", "mutate": ["lr"], "parameters": {"lr": lr}}
    experiments = [parallel | {"backgrounds": [{"workload": "siamese"}]}, {"workload": "mnist_cnn", "mode": "default"}]
    assert [run.id for run in plan_runs(make_config(*experiments)).runs] == ["run_30be3f89c612", "run_ceea81fce74f"]
