"""The real command: what it says, how it exits, what is left when it is killed, and that it goes on where it was."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.commands import answer

ROOT = Path(__file__).resolve().parents[2]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "flows.training", *map(str, arguments)]


def done(*arguments: str | Path, code: int) -> subprocess.CompletedProcess[str]:
    finished = subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == code, finished.stderr + finished.stdout
    return finished


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("mode=paralel", "'mode'"),
        ("experiments=[{workload: lstmm}]", "did you mean 'lstm'"),
        ("experiments=[{workload: lstm, mutate: [lrr]}]", "no parameter named 'lrr'"),
        ("experiments=[{workload: lstm, parameters: {lr: {range: [2, 1]}}}]", "upside down"),
        ("earlier_results=[/nowhere.csv]", "there is no /nowhere.csv"),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_exit_2(setting, message, tmp_path, cache):
    for dry in (["--dry-run"], []):
        code, printed = answer("training", "--run-dir", str(tmp_path / "run"), *dry, "--set", setting, cache=cache)
        assert code == 2
        assert message in printed
        assert "Traceback" not in printed
    assert not (tmp_path / "run").exists()


def test_the_doctor_answers_for_programs_too():
    found = json.loads(done("doctor", "--json", code=0).stdout)
    assert {"containment", "energy", "machine"} <= set(found)


@pytest.mark.flow
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_flow_leaves_nothing_and_is_taken_up_again(external, tmp_path):
    fifo = tmp_path / "witness"
    os.mkfifo(fifo)
    witness = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    # Non-blocking, so that the re-run does not wait for a reader.
    hold = f"import os\ntry: held = os.open({str(fifo)!r}, os.O_WRONLY | os.O_NONBLOCK)\nexcept OSError: pass\n"
    for name in ("good", "forever"):
        path = tmp_path / f"{name}.py"
        path.write_text(hold + path.read_text())
    slow = {"workload": "good", "hyperparameters": {"epochs": 30, "pause": 0.3}}
    config = {
        "mode": "default",
        "external": {name: external[name] for name in ("good", "forever")},
        "experiments": [
            {"workload": "good"},
            slow | {"mode": "parallel", "backgrounds": [{"workload": "forever", "id": "load", "grace_s": 0.2}]},
        ],
        "energy": {"idle_s": 0.1},
        "cool_down": {"max_s": 0},
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    run_dir = tmp_path / "run"
    settings = ["--config", path, "--run-dir", run_dir]
    process = subprocess.Popen(command(*settings), cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 400
    while not list(run_dir.glob("training/*/attempt-1/backgrounds/load/output.log")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    poll = select.poll()
    poll.register(witness, 0)
    while not any(event & select.POLLHUP for _, event in poll.poll(100)):
        assert time.monotonic() < deadline, "something of the run is still alive"
    os.close(witness)
    first = {path: path.stat().st_mtime_ns for path in run_dir.glob("training/*/attempt-1.json")}
    assert len(first) == 1
    done(*settings, code=0)
    assert all(path.stat().st_mtime_ns == at for path, at in first.items())
    summary = json.loads((run_dir / "summary.json").read_text())
    assert (summary["runs"], summary["ok"], summary["status"]) == (2, 2, "finished")
    assert "<svg" in (run_dir / "report.html").read_text()
    assert "is finished" in done(*settings, code=0).stdout
    assert "another config" in done(*settings, "--set", "seed=7", code=2).stderr


@pytest.mark.flow
@pytest.mark.slow
def test_an_experiment_file_of_the_original_runs_on_our_workloads_through_the_flow(tmp_path):
    it = {"repo": "bug-localization-by-dnn-and-rvsm", "model": "default"}
    entries = [
        {"comment": "an entry that is only a comment"},
        it | {"mode": "default", "hyperparameters": {"epochs": 2}},
        it | {"mode": "mutation", "mutate": ["alpha", "seed"], "hyperparameters": {"epochs": 2}},
        {
            "mode": "parallel",
            "foreground": it | {"mode": "default", "hyperparameters": {"epochs": 6}},
            "background": it | {"hyperparameters": {"epochs": 3}},
        },
    ]
    path = tmp_path / "experiment.json"
    path.write_text(json.dumps({"experiment_name": "as it was", "governor": None, "max_retries": 1, "experiments": entries}))
    quick = ["energy={idle_s: 0}", "cool_down={max_s: 0}", "colocation={background_alone_s: 0.5}", "cluster=none"]
    done("--config", path, "--run-dir", tmp_path / "run", *(word for one in quick for word in ("--set", one)), code=0)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["runs"], summary["ok"]) == (3, 3)
    assert any("tabular MLP" in note for note in summary["notes"])
    header = (tmp_path / "run" / "training" / "summary.csv").read_text().splitlines()[0]
    assert "training_success" in header  # the original's column names
    assert not (tmp_path / "run" / "logs" / "prefect.db").exists()
