"""The real command: run, kill, take up again, trace, compare; two workers against one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tasks.config import load_config
from tasks.journal import read_jsonl
from tasks.synthesis.config import SynthesisConfig
from tasks.synthesis.run import run_serially

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "synthesis" / "math.yaml"
FILES = ("qa.jsonl", "trajectories.jsonl", "trees.jsonl", "rejected.jsonl", "failures.jsonl")


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "flows.synthesis", *map(str, arguments)]


def done(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    finished = subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == code, finished.stderr + finished.stdout
    return finished


@pytest.mark.flow
@pytest.mark.slow
def test_a_killed_parallel_run_taken_up_again_gives_the_bytes_of_a_serial_one(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.json"
    texts = [f"primes and roots {n}" for n in range(48)]
    seeds.write_text(json.dumps(texts))
    settings = ["--config", CONFIG, "--set", f"seeds={seeds}", "--set", "seeds_per_shard=12"]
    run_dir = tmp_path / "run"
    run = subprocess.Popen(command(*settings, "--run-dir", run_dir, "--set", "max_workers=2"), cwd=ROOT, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 200
    while not list((run_dir / "synthesis" / "shards").glob("*.jsonl*")) and time.monotonic() < deadline:
        assert run.poll() is None, run.stderr and run.stderr.read()
        time.sleep(0.05)
    family = psutil.Process(run.pid).children(recursive=True)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []

    done(*settings, "--run-dir", run_dir, "--set", "max_workers=2")
    serial = load_config(SynthesisConfig, CONFIG, [f"seeds={seeds}", "seeds_per_shard=12"])
    run_serially(serial, tmp_path / "serial")
    for name in FILES:
        assert (run_dir / name).read_bytes() == (tmp_path / "serial" / name).read_bytes(), name

    item = next(read_jsonl(run_dir / "qa.jsonl"))
    assert "passed  replay" in done("trace", run_dir, item["qa_id"]).stdout
    assert "is finished" in done(*settings, "--run-dir", run_dir).stdout


def test_a_dry_run_estimates_and_touches_nothing(tmp_path: Path) -> None:
    said = done("--config", CONFIG, "--run-dir", tmp_path / "run", "--dry-run").stdout
    assert "model calls: none" in said
    assert "198 different" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "environment_mode=wbe"], "did you mean 'web'"),
        (["--set", "seeds=/nowhere/seeds.json"], "there is no seeds file"),
        (["--set", "environment_mode=math", "--set", "available_tools=[calculater]"], "did you mean 'calculator'"),
        (["--set", "environment_mode=rag", "--set", "environment_kwargs={corpus: /nowhere}"], "does not exist"),
        (["--config", "/nowhere/config.json"], "there is no config file"),
        (["trace", "/nowhere", "qa_1"], "no finished synthesis run"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_code_2_and_nothing_is_started(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    extra = [] if arguments[0] == "trace" else ["--run-dir", str(tmp_path / "run")]
    finished = done(*arguments, *extra, code=2)
    assert said in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "run").exists()
