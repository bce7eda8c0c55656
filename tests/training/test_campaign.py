"""Whole runs with small real programs: success and every class of failure, retries, resume, backgrounds, results."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from millrace.config import load_config
from millrace.errors import RunFailed
from millrace.run.journal import read_json
from millrace.training.backgrounds.background_group import Backgrounds
from millrace.training.campaign import open_campaign, plan_for
from millrace.training.results.attempt_files import all_attempts, final_attempts
from millrace.training.results.report import render, report_data
from millrace.training.settings import TrainingConfig
from tests.training.conftest import PROGRAMS
from tests.training.made_records import attempt

ROOT = Path(__file__).resolve().parents[2]


def run_all(config, folder: Path) -> list[dict]:
    """The records of the last attempts, as they are written."""
    with open_campaign(config, folder) as campaign:
        done = [campaign.run_one(run) for run in campaign.pending()]
    return [read_json(folder / record.id / f"attempt-{record.attempt}.json") for record in done]


def test_a_good_training_has_its_metrics_curve_and_cost(make_config, tmp_path):
    (record,) = run_all(
        make_config({"workload": "good", "hyperparameters": {"epochs": 4, "lr": 0.1234567890123456}}), tmp_path / "run"
    )
    assert record["ok"], record["failure_detail"]
    assert record["metrics"]["score"] == 0.9
    assert [epoch["n"] for epoch in record["epochs"]] == [1, 2, 3, 4]
    assert [epoch["load"] for epoch in record["epochs"]] == ["warm_up", "solo", "solo", "solo"]
    assert record["hyperparameters"]["lr"] == record["hyperparameters_echoed"]["lr"] == 0.1234567890123456
    assert record["cpu_s"] > 0
    assert record["containment"]["guarantee"]
    assert all(reading["joules"] is not None or reading["reason"] for reading in record["energy"])
    place = tmp_path / "run" / record["id"] / "attempt-1"
    script = (place / "command.sh").read_text()
    assert "0.1234567890123456" in script
    assert subprocess.run(["sh", "-n", str(place / "command.sh")], check=False).returncode == 0


@pytest.mark.parametrize(
    ("program", "failure", "attempts"),
    [
        ("crash", "exit_code", 2),
        ("crash_late", "exit_code", 2),
        ("liar", "exit_code", 2),
        ("half", "incomplete", 1),
        ("other_values", "echo_mismatch", 1),
        ("out_of_memory", "out_of_memory", 1),
        ("segfault", "killed", 2),
    ],
)
def test_a_failed_training_is_classed_and_only_retried_where_that_can_help(program, failure, attempts, make_config, tmp_path):
    config = make_config({"workload": program, "hyperparameters": {"lr": 0.123456789}}, {"workload": "good"}, max_retries=1)
    failed, good = run_all(config, tmp_path / "run")
    assert (failed["ok"], failed["failure"], failed["attempt"]) == (False, failure, attempts)
    assert failed["failure_detail"]
    assert good["ok"]  # the other experiments go on
    kept = [record for record in all_attempts(tmp_path / "run") if record.id == failed["id"]]
    assert len(kept) == attempts
    assert all(record.energy for record in kept)


def test_a_program_that_is_not_there_is_a_classed_failure_naming_it(make_config, external, tmp_path):
    gone = {"command": ["/nowhere/train"], "adapter": "jsonl"}
    (record,) = run_all(make_config({"workload": "gone"}, external=external | {"gone": gone}), tmp_path / "run")
    assert (record["failure"], record["attempt"]) == ("command_missing", 1)
    assert "/nowhere/train" in record["failure_detail"]


def test_a_training_that_takes_too_long_is_stopped(make_config, tmp_path):
    (record,) = run_all(make_config({"workload": "forever"}, timeout_s=1.5), tmp_path / "run")
    assert (record["failure"], record["attempt"]) == ("timeout", 1)
    assert record["duration_s"] < 60


def test_a_training_that_says_nothing_for_long_has_hung(make_config, tmp_path):
    (record,) = run_all(make_config({"workload": "silent"}, silent_timeout_s=1.0, max_retries=0), tmp_path / "run")
    assert record["failure"] == "hung"


def test_an_attempt_that_fails_by_chance_is_tried_again_and_both_are_kept(make_config, tmp_path):
    job = {"workload": "flaky", "env": {"MARK": str(tmp_path / "mark")}}
    (record,) = run_all(make_config(job), tmp_path / "run")
    assert (record["ok"], record["attempt"]) == (True, 2)
    assert [one.ok for one in all_attempts(tmp_path / "run")] == [False, True]


def test_gigabytes_of_bad_utf8_cost_neither_the_disk_nor_the_result(make_config, tmp_path):
    (record,) = run_all(make_config({"workload": "noisy"}, max_log_mb=0.5), tmp_path / "run")
    assert record["ok"], record["failure_detail"]
    place = tmp_path / "run" / record["id"] / "attempt-1"
    assert sum(path.stat().st_size for path in place.glob("output.log*")) <= 1 << 19
    assert record["log_bytes"] > 20_000_000


def test_a_foreign_program_is_read_by_patterns(make_config, tmp_path):
    code = (
        "import sys\nfor n in range(1, 4): print(f'Epoch {n} done, loss={1/n:.3f}')\n"
        "print('Rank@1: 0.5 mAP: 0.25')\nprint('Rank@1: 0.75 mAP: 0.5')\nprint('finished')"
    )
    foreign = {
        "command": [sys.executable, "-c", code],
        "epoch": r"Epoch (\d+) done, loss=(?P<loss>[0-9.]+)",
        "metrics": {"rank1": r"Rank@1:\s*([0-9.]+)", "map": r"mAP:\s*([0-9.]+)"},
        "success": "^finished",
    }
    (record,) = run_all(make_config({"workload": "foreign"}, external={"foreign": foreign}), tmp_path / "run")
    assert record["ok"], record["failure_detail"]
    assert record["metrics"] == {"loss": 0.333, "rank1": 0.75, "map": 0.5}
    assert [epoch["n"] for epoch in record["epochs"]] == [1, 2, 3]
    events = (tmp_path / "run" / record["id"] / "attempt-1" / "events.jsonl").read_text()
    assert events.count('"epoch"') >= 3


def test_a_foreign_program_without_its_metric_or_its_word_has_not_succeeded(make_config, tmp_path):
    def foreign(code: str) -> dict:
        return {"command": [sys.executable, "-c", code], "metrics": {"map": r"mAP:\s*([0-9.]+)"}, "success": "^finished"}

    config = make_config(
        {"workload": "mute"},
        {"workload": "early"},
        external={"mute": foreign("print('finished')"), "early": foreign("print('mAP: 1')")},
    )
    assert [record["failure"] for record in run_all(config, tmp_path / "run")] == ["metrics_missing", "incomplete"]


def test_a_resumed_run_does_only_what_is_missing(make_config, tmp_path):
    config = make_config({"workload": "good", "runs_per_config": 3, "mode": "mutation", "mutate": ["lr"]})
    with open_campaign(config, tmp_path / "run") as campaign:
        first = campaign.run_one(campaign.pending()[0])
    # A crash in the middle of the second: a folder without a record.
    half = tmp_path / "run" / campaign.pending()[0].id / "attempt-1"
    half.mkdir(parents=True)
    (half / "events.jsonl").write_text('{"event": "start"}\n')
    records = run_all(config, tmp_path / "run")
    assert len(records) == 2
    assert first.id not in {record["id"] for record in records}
    assert all(record["ok"] and record["attempt"] == 1 for record in records)
    assert run_all(config, tmp_path / "run") == []


def test_the_flow_fails_when_too_many_trainings_fail(make_config, tmp_path):
    config = make_config({"workload": "crash"}, {"workload": "good"}, max_failure_rate=0.4, max_retries=0)
    with open_campaign(config, tmp_path / "run") as campaign:
        for run in campaign.pending():
            campaign.run_one(run)
        with pytest.raises(RunFailed, match=r"1 of 2 trainings failed.*exit_code.*about to fail"):
            campaign.summary()
    assert (tmp_path / "run" / "results.csv").exists()  # what there is, is kept


def test_tables_are_tidy_exact_and_have_the_originals_names_on_request(make_config, tmp_path):
    config = make_config({"workload": "good", "hyperparameters": {"lr": 0.1234567890123456}}, original_columns=True)
    run_all(config, tmp_path / "run")
    with open_campaign(config, tmp_path / "run") as campaign:
        campaign.summary()
    (row,) = csv.DictReader((tmp_path / "run" / "results.csv").open())
    assert float(row["hyperparameter_lr"]) == 0.1234567890123456
    assert row["metric_score"] == "0.9"
    (typed,) = pq.read_table(tmp_path / "run" / "results.parquet").to_pylist()
    assert typed["hyperparameter_lr"] == 0.1234567890123456
    (old,) = csv.DictReader((tmp_path / "run" / "summary.csv").open())
    assert old["training_success"] == "True"
    assert old["hyperparam_lr"] == "0.1234567890123456"
    assert old["perf_score"] == "0.9"
    assert old["energy_cpu_pkg_joules"] == "" or float(old["energy_cpu_pkg_joules"]) > 0


STEPPING = """
import time
_time, _began = time.time, time.monotonic()
time.time = lambda: _time() - (3600.0 if time.monotonic() > _began + 0.5 else 0.0)
"""
"""Ahead of a program: a wall clock that is set back by an hour in its first second."""


@pytest.mark.parametrize("whose", ["machine_s", "program_s"])
def test_a_clock_that_is_set_in_the_middle_changes_no_figure_and_is_noted(whose, make_config, external, monkeypatch, tmp_path):
    if whose == "machine_s":
        real, began = time.time, time.monotonic()
        monkeypatch.setattr("time.time", lambda: real() - (3600.0 if time.monotonic() > began + 1.5 else 0.0))
    stepping = tmp_path / "stepping.py"
    stepping.write_text(STEPPING + PROGRAMS["good"])
    command = [sys.executable, "-I", "-S", str(stepping)]
    job = {
        "workload": "stepping",
        "hyperparameters": {"epochs": 9, "pause": 0.25},
        "mode": "parallel",
        "backgrounds": [background("forever")],
    }
    config = make_config(job, external=external | {"stepping": external["good"] | {"command": command}})
    (record,) = run_all(config, tmp_path / "run")
    assert record["ok"], record["failure_detail"]
    assert 2.0 < record["duration_s"] < 60
    for epoch in record["epochs"]:
        assert 0.2 < epoch["wall_s"] < 10
        assert record["began"] <= epoch["started"] <= record["ended"]
        assert 0 <= epoch["overlap"] <= 1
        assert epoch["window_s"] > 0
    (one,) = record["backgrounds"]
    assert 0 <= one["overlap_fraction"] <= 1
    assert all(seconds >= 0 for seconds in one["state_s"].values())
    assert record["clock_steps"][whose] == pytest.approx(-3600.0, abs=2.0)
    page = render(report_data("", "", tmp_path / "run", []))
    assert "wall clock was set by -3,600" in page


def test_the_last_attempt_is_the_last_by_number_when_the_time_of_day_was_set_back():
    attempts = [attempt(attempt=number, written_at=f"2026-01-01T0{3 - number}") for number in (2, 1)]
    assert [record.attempt for record in final_attempts(attempts)] == [2]


def test_a_background_that_cannot_begin_is_given_up_at_once(make_config, external, tmp_path):
    wrong = [sys.executable, "-c", "import argparse; argparse.ArgumentParser().parse_args()", "--nonsense"]
    config = make_config(
        {"workload": "good", "mode": "parallel", "backgrounds": [background("wrong", hyperparameters={}, required=False)]},
        external=external | {"wrong": external["good"] | {"command": wrong}},
    )
    (record,) = run_all(config, tmp_path / "run")
    (one,) = record["backgrounds"]
    assert (one["state"], one["restarts_by_cause"]) == ("fatal", {"bad_config": 1})
    assert "unrecognized arguments: --nonsense" in one["detail"]


def background(workload: str, **more) -> dict:
    quick = {"backoff_s": 0.05, "max_failures": 3, "healthy_s": 60}
    return {"workload": workload, "id": workload, "hyperparameters": {"pause": 0.02}, "grace_s": 0.3, "restart": quick} | more


def test_a_crash_loop_a_stubborn_one_and_two_good_ones_are_told_apart_and_stopped_in_time(make_config, tmp_path):
    beside = [
        background("crash", required=False),
        background("stubborn", grace_s=0.5),
        background("forever", id="first"),
        background("forever", id="second", hyperparameters={"pause": 0.01}),
    ]
    job = {"workload": "good", "hyperparameters": {"epochs": 9, "pause": 0.2}, "mode": "parallel", "backgrounds": beside}
    (record,) = run_all(make_config(job), tmp_path / "run")
    assert record["ok"], record["failure_detail"]
    assert record["metrics"]["score"] == 0.9
    states = {one["id"]: one for one in record["backgrounds"]}
    assert states["crash"]["state"] == "fatal"
    assert states["crash"]["restarts_by_cause"] == {"exit_code": 3}
    assert states["crash"]["overlap_fraction"] == 0
    assert {states[name]["state"] for name in ("stubborn", "first", "second")} == {"stopped"}
    assert states["stubborn"]["ends"][-1]["returncode"] == -signal.SIGKILL
    assert states["first"]["ends"][-1]["returncode"] == -signal.SIGTERM
    assert states["second"]["samples"] > states["first"]["samples"] > 0
    assert record["stop_backgrounds_s"] <= 0.5 + 1.0 + 4.0  # the largest grace + 1 s, and what a busy test machine adds
    assert all(one["leftover"] == [] for state in states.values() for one in state["ends"] if "leftover" in one)


def test_windows_alternate_and_the_overlap_is_what_the_windows_say(make_config, tmp_path):
    job = {
        "workload": "good",
        "hyperparameters": {"epochs": 9, "pause": 0.3},
        "mode": "parallel",
        "backgrounds": [background("forever")],
    }
    config = make_config(job, energy={"idle_s": 0, "providers": []})
    (record,) = run_all(config, tmp_path / "run")
    assert record["ok"], record["failure_detail"]
    loads = [epoch["load"] for epoch in record["epochs"]]
    assert loads[0] == "warm_up"
    assert {"solo", "shared"} <= set(loads)
    for epoch in record["epochs"]:
        if epoch["load"] == "solo":
            assert epoch["background_samples"] < 0.2 * 10 * 0.3 / 0.02
    (one,) = record["backgrounds"]
    assert 0.3 < one["overlap_fraction"] < 0.9
    assert one["state_s"]["paused"] > 0.5
    assert record["comparison"]["slowdown"]["pairs"] >= 1
    events = (tmp_path / "run" / record["id"] / "attempt-1" / "backgrounds" / "forever" / "events.jsonl").read_text().splitlines()
    assert one["epochs"] == sum(json.loads(line)["event"] == "epoch" for line in events)
    assert [change["level"] for change in record["load_changes"]][:2] == [0.0, 1.0]
    assert record["comparison"]["metric_difference"]["score"]["blocks"] <= 2
    data = report_data("", "", tmp_path / "run", [])
    page = render(data)
    assert "shared − solo" in page
    (card,) = data.colocation
    assert card.windows == loads
    assert card.slowdown.pairs == record["comparison"]["slowdown"]["pairs"]
    assert (card.shared_j.estimate, card.shares, card.foreground_between_j) == (None, [], None)
    assert card.reason == "no energy was measured: no source was asked for"
    assert "Colocation card" in page
    assert card.reason in page
    with open_campaign(config, tmp_path / "run") as campaign:
        assert campaign.summary().colocation == [card]


def test_a_lost_required_background_makes_the_run_invalid_and_says_which(make_config, tmp_path):
    job = {"workload": "good", "mode": "parallel", "backgrounds": [background("crash")]}
    (record,) = run_all(make_config(job, max_retries=0), tmp_path / "run")
    assert (record["ok"], record["failure"]) == (False, "background_lost")
    assert "crash" in record["failure_detail"]


def test_a_background_lost_in_the_middle_makes_the_run_invalid_though_the_foreground_ended_well(make_config, tmp_path):
    beside = background("crash_late", hyperparameters={"pause": 0.4, "epochs": 9}, restart={"policy": "never"})
    job = {"workload": "good", "hyperparameters": {"epochs": 8, "pause": 0.4}, "mode": "parallel", "backgrounds": [beside]}
    (record,) = run_all(
        make_config(job, max_retries=0, colocation={"windows": "shared", "background_alone_s": 0}), tmp_path / "run"
    )
    assert (record["failure"], record["returncode"]) == ("background_lost", 0)
    assert record["metrics"]["score"] == 0.9


def test_a_background_that_never_gets_ready_is_a_failure_of_the_run(make_config, tmp_path):
    beside = background("silent", ready_timeout_s=0.5, restart={"policy": "never"})
    (record,) = run_all(
        make_config({"workload": "good", "mode": "parallel", "backgrounds": [beside]}, max_retries=0), tmp_path / "run"
    )
    assert record["failure"] in {"not_ready", "background_lost"}
    assert record["backgrounds"][0]["restarts_by_cause"] == {"not_ready": 1}


def test_a_background_over_its_memory_limit_fails_alone_and_is_told_so(make_config, tmp_path):
    beside = background("greedy", required=False, resources={"memory_limit_mb": 100}, restart={"policy": "never"})
    job = {"workload": "good", "mode": "parallel", "backgrounds": [beside]}
    (record,) = run_all(make_config(job), tmp_path / "run")
    assert record["ok"], record["failure_detail"]
    (one,) = record["backgrounds"]
    assert one["restarts_by_cause"] == {"memory_limit": 1}
    assert one["containment"]["memory_limited_by"]


def test_what_cannot_fit_is_not_started(make_config, tmp_path):
    job = {"workload": "good", "resources": {"memory_need_mb": 1 << 30}}
    (record,) = run_all(make_config(job), tmp_path / "run")
    assert (record["failure"], record["attempt"]) == ("no_memory_free", 1)


def test_the_load_is_steered_when_a_slowdown_is_allowed(make_config, tmp_path):
    job = {"workload": "good", "hyperparameters": {"epochs": 12, "pause": 0.2}, "mode": "parallel"}
    job["backgrounds"] = [background("forever")]
    settings = {"max_foreground_slowdown": 1.5, "dwell_epochs": 2, "background_alone_s": 0}
    (record,) = run_all(make_config(job, colocation=settings), tmp_path / "run")
    assert record["ok"], record["failure_detail"]
    assert record["epochs"][0]["load"] == "warm_up"
    whys = [change["why"] for change in record["load_changes"]]
    assert whys[:2] == ["solo window", "the solo baseline is complete"]
    assert whys[-2:] == ["solo window", "the solo baseline is complete"]  # renewed at the tenth epoch


def test_the_load_is_set_by_pausing_by_the_number_of_backgrounds_and_by_a_duty_cycle(make_config, tmp_path):
    beside = [background("forever", id="first"), background("forever", id="second")]
    config = make_config({"workload": "good", "mode": "parallel", "backgrounds": beside})
    (run,) = plan_for(config).runs
    with Backgrounds(run.backgrounds, config, tmp_path) as loads:
        first, second = loads.loops
        loads.wait_until_training()

        def goes_on(loop) -> None:
            """Until it has trained on more samples than now."""
            before, deadline = loop.report(0, 1).samples, time.monotonic() + 60
            while loop.report(0, 1).samples <= before:
                assert time.monotonic() < deadline, f"{loop.id} does not train"
                time.sleep(0.02)

        def stands_still(loop) -> None:
            time.sleep(0.3)  # what it had printed before the pause arrives
            before = loop.report(0, 1).samples
            time.sleep(0.3)
            assert loop.report(0, 1).samples == before

        loads.set_level(0.0)  # pause
        stands_still(first)
        stands_still(second)
        loads.set_level(0.5)  # one of two
        goes_on(first)
        stands_still(second)
        loads.set_level(0.75)  # one, and one for half the time
        began, deadline = time.time(), time.monotonic() + 60
        while len(second.record.spans.gaps(began, time.time())) < 4:
            assert time.monotonic() < deadline, "the second background is not switched on and off"
            time.sleep(0.1)
        assert 0.1 < second.record.spans.overlap(began, now := time.time()) / (now - began) < 0.9
        assert not first.record.spans.gaps(began, now)
        loads.set_level(0.0)  # also in the middle of a turn of the duty cycle
        stands_still(first)
        stands_still(second)
        loads.set_level(1.0)
        goes_on(first)
        goes_on(second)


def test_the_report_shows_failures_and_escapes_what_programs_print(make_config, tmp_path):
    script = {"command": [sys.executable, "-c", "print('<script>alert(1)</script>'); raise SystemExit(3)"], "adapter": "jsonl"}
    config = make_config(
        {"workload": "good"}, {"workload": "evil"}, external=make_config({}).model_dump()["external"] | {"evil": script}
    )
    run_all(config, tmp_path / "run")
    page = render(report_data("<b>name</b>", "", tmp_path / "run", []))
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<b>name" not in page
    assert "exit_code" in page
    assert "unavailable" in page or "measured" in page


def test_the_originals_models_config_and_experiments_run_its_scripts_in_all_three_modes(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, time\noptions = dict(zip(sys.argv[1::2], sys.argv[2::2]))\n"
        "for n in range(int(options['-e'])): print('loss', 1 / (n + 1), flush=True); time.sleep(0.05)\n"
        "print('Accuracy: 0.5', options['-n'], options['--set'])\n"
    )
    epochs = {"flag": "-e", "type": "int", "default": 4, "range": [2, 6], "distribution": "uniform"}
    spec = {
        "path": str(tmp_path), "train_script": str(script), "models": ["small"], "model_flag": "-n",
        "required_args": {"data": "--set digits"}, "supported_hyperparams": {"epochs": epochs},
        "performance_metrics": {"log_patterns": {"test_accuracy": "Accuracy: ([0-9.]+)"}},
    }  # fmt: skip
    (tmp_path / "models_config.json").write_text(json.dumps({"models": {"ours": spec}}))
    it = {"repo": "ours", "model": "small"}
    data = {
        "experiment_name": "as it was", "governor": None, "runs_per_config": 1, "max_retries": 0, "use_deduplication": True,
        "historical_csvs": [], "models_config": str(tmp_path / "models_config.json"),
        "colocation": {"background_alone_s": 0}, "energy": {"idle_s": 0}, "cool_down": {"max_s": 0},
        "experiments": [
            it | {"mode": "default", "hyperparameters": {"epochs": 3}},
            it | {"mode": "mutation", "mutate": ["all"], "runs_per_config": 2},
            {"mode": "parallel", "foreground": it | {"mode": "default", "hyperparameters": {"epochs": 5}},
             "background": it | {"hyperparameters": {"epochs": 2}}},
        ],
    }  # fmt: skip
    (tmp_path / "experiment.json").write_text(json.dumps(data))
    config = load_config(TrainingConfig, tmp_path / "experiment.json")
    records = run_all(config, tmp_path / "run")
    assert [(record["ok"], record["mode"]) for record in records] == [
        (True, "default"), (True, "mutation"), (True, "mutation"), (True, "parallel"),
    ], [record["failure_detail"] for record in records]  # fmt: skip
    assert all(record["metrics"] == {"test_accuracy": 0.5} for record in records)
    assert records[3]["backgrounds"][0]["iterations"] >= 1


@pytest.mark.chaos
def test_nothing_is_left_when_the_run_is_killed_and_it_can_be_taken_up_again(make_config, tmp_path):
    fifo = tmp_path / "witness"
    os.mkfifo(fifo)
    witness = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    hold = f"import os; os.open({str(fifo)!r}, os.O_WRONLY)\n"
    for name in ("good", "forever"):
        path = tmp_path / f"{name}.py"
        path.write_text(hold + path.read_text())
    job = {
        "workload": "good",
        "hyperparameters": {"epochs": 20, "pause": 0.2},
        "mode": "parallel",
        "backgrounds": [background("forever")],
    }
    config = make_config(job)
    (tmp_path / "config.json").write_text(config.model_dump_json())
    code = (
        "import sys; from pathlib import Path; from millrace.config import load_config\n"
        "from millrace.training.settings import TrainingConfig; from millrace.training.campaign import open_campaign\n"
        "with open_campaign(load_config(TrainingConfig, Path(sys.argv[1])), Path(sys.argv[2])) as campaign:\n"
        "    for run in campaign.pending(): campaign.run_one(run)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "config.json"), str(tmp_path / "run")]
    process = subprocess.Popen(command, cwd=ROOT)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run").glob("*/attempt-1/output.log")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    process.kill()
    process.wait()
    gone = threading.Event()
    import select

    poll = select.poll()
    poll.register(witness, 0)
    while time.monotonic() < deadline and not gone.is_set():
        if any(event & select.POLLHUP for _, event in poll.poll(100)):
            gone.set()
    os.close(witness)
    assert gone.is_set()
    # The FIFO has no reader any more: the re-run's programs must not wait for one.
    for name in ("good", "forever"):
        path = tmp_path / f"{name}.py"
        path.write_text(path.read_text().removeprefix(hold))
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=120).returncode == 0
    (record,) = all_attempts(tmp_path / "run")
    assert record.ok, record.failure_detail
    assert read_json(tmp_path / "run" / "setting.json")["sessions"] == 2


@pytest.mark.slow
def test_a_cut_off_run_with_checkpoints_goes_on_from_the_last_one(make_config, tmp_path):
    job = {"workload": "tabular_mlp", "hyperparameters": {"epochs": 3}, "checkpoint_every": 1, "resources": {"threads": 1}}
    config = make_config(job)
    (record,) = run_all(config, tmp_path / "run")
    assert record["ok"], record["failure_detail"]
    assert [epoch["n"] for epoch in record["epochs"]] == [1, 2, 3]
    assert not record["resumed"]
    # As after a crash before the record was written: everything was trained, so only the evaluation is left.
    (tmp_path / "run" / record["id"] / "attempt-1.json").unlink()
    (again,) = run_all(config, tmp_path / "run")
    assert again["resumed"]
    assert again["ok"], again["failure_detail"]
    assert again["epochs"] == []
    assert again["metrics"]["test_accuracy"] == record["metrics"]["test_accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize(("failure", "resumed"), [("killed", True), ("background_lost", False)])
def test_a_retry_goes_on_from_the_checkpoint_unless_the_load_has_to_be_measured_anew(failure, resumed, make_config, tmp_path):
    job = {"workload": "tabular_mlp", "hyperparameters": {"epochs": 2}, "checkpoint_every": 1, "resources": {"threads": 1}}
    config = make_config(job)
    (record,) = run_all(config, tmp_path / "run")
    path = tmp_path / "run" / record["id"] / "attempt-1.json"
    path.write_text(json.dumps(record | {"ok": False, "failure": failure, "final": False}))
    (again,) = run_all(config, tmp_path / "run")
    assert (again["ok"], again["attempt"], again["resumed"]) == (True, 2, resumed)
    assert [epoch["n"] for epoch in again["epochs"]] == ([] if resumed else [1, 2])
    assert (path.parent / "attempt-1" / "checkpoint" / ".metadata").exists()  # the first attempt's stays where it was
