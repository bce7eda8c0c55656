"""The real command: worker counts, kills, dead workers, trace, what it shows of itself, a user's mistakes."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.config import load_config
from millrace.run.journal import read_json, read_jsonl
from millrace.synthesis.runs.synthesis_run import run_serially
from millrace.synthesis.settings import SynthesisConfig
from tests.e2e.commands import Command, answer, run
from tests.fixtures.running_services import Environment
from tests.synthesis.conftest import shipped

FILES = ("qa.jsonl", "trajectories.jsonl", "trees.jsonl", "rejected.jsonl", "failures.jsonl", "dataset/chat.jsonl")

KILLS = int(os.environ.get("MILLRACE_KILLS", "1"))
"""How often the chaos test kills; the acceptance run of a release does 20 (`MILLRACE_KILLS=20`)."""

ENVIRONMENTS = os.environ.get("MILLRACE_ENVIRONMENTS", "math").split(",")
"""The presets of the flow tests; the acceptance run does all (`MILLRACE_ENVIRONMENTS=math,python,rag,web,custom`)."""

SEEDS = int(os.environ.get("MILLRACE_SEEDS", "40"))

pytestmark = [pytest.mark.timeout(1800)]


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def settings(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The arguments of a small run."""
    return ("--config", str(shipped(request.param)), "--set", f"number_of_seed={SEEDS}", "--set", "seeds_per_shard=10")


@pytest.fixture(scope="module")
def undisturbed(settings: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A finished run of the flow with a server of its own and one worker."""
    folder = tmp_path_factory.mktemp("synthesis") / "run"
    code, printed = run("synthesis", *settings, "--set", "max_workers=1", "--run-dir", str(folder), cache=cache)
    assert code == 0, printed
    return folder


@pytest.mark.flow
@pytest.mark.slow
def test_the_flow_with_one_and_with_two_workers_and_a_serial_run_give_the_same_bytes(
    settings: tuple[str, ...], undisturbed: Path, tmp_path: Path, cache: Path
) -> None:
    """One worker of Dask, two without it. Four of Dask: see the kills below, whose last run has them."""
    wanted = contents(undisturbed)
    assert wanted["qa.jsonl"]
    two = ("--run-dir", str(tmp_path / "two"), "--set", "cluster=none", "--set", "max_workers=2")
    code, printed = run("synthesis", *settings, *two, cache=cache)
    assert code == 0, printed
    assert contents(tmp_path / "two") == wanted
    run_serially(load_config(SynthesisConfig, Path(settings[1]), settings[3::2]), tmp_path / "serial")
    assert contents(tmp_path / "serial") == wanted


@pytest.mark.flow
@pytest.mark.slow
@pytest.mark.chaos
def test_kill_minus_nine_at_random_moments_and_four_workers_change_no_byte(
    settings: tuple[str, ...], undisturbed: Path, tmp_path: Path, cache: Path, on_running_server: Environment
) -> None:
    """With another number of workers each time; every other kill waits until shards are being worked on."""
    folder = tmp_path / "run"
    rng = random.Random(7)
    killed = 0
    for attempt in range(2 * KILLS):
        command = Command(
            "synthesis", *settings, "--set", f"max_workers={(1, 2, 4)[attempt % 3]}", "--run-dir", str(folder), cache=cache
        )
        if attempt % 2 == 0:
            before = progress(folder)
            wait_for(lambda before=before: progress(folder) > before or (folder / "summary.json").exists(), command)  # type: ignore[misc]
            time.sleep(rng.uniform(0, 1))
        else:
            time.sleep(rng.uniform(1, 15))
        if ended(command):
            (folder / "summary.json").unlink(missing_ok=True)
        else:
            command.kill()
            killed += 1
        command.wait_until_nothing_is_left()
        if killed == KILLS:
            break
        if (folder / "synthesis" / "summary.json").exists():  # nothing is left to interrupt: undo a shard and the end
            (folder / "synthesis" / "summary.json").unlink()
            rng.choice(sorted((folder / "synthesis" / "shards").glob("*.jsonl"))).unlink()
            manifest = read_json(folder / "manifest.json")
            manifest["flows"]["synthesis"]["state"] = "running"
            (folder / "manifest.json").write_text(json.dumps(manifest))
    assert killed >= 1
    arguments = (*settings, "--set", "max_workers=4", "--run-dir", str(folder))
    code, printed = run("synthesis", *arguments, cache=cache, **on_running_server)
    assert code == 0, printed
    assert contents(folder) == contents(undisturbed)


def progress(folder: Path) -> int:
    """Bytes in the journals of the shards."""
    total = 0
    for path in (folder / "synthesis" / "shards").glob("*.jsonl*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # renamed meanwhile
    return total


def wait_for(happened: Callable[[], bool], command: Command, within_s: float = 200) -> None:
    deadline = time.monotonic() + within_s
    while not happened() and not ended(command):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ended(command: Command) -> bool:
    return not Path(f"/proc/{command.pid}").exists()


@pytest.mark.flow
@pytest.mark.slow
def test_a_run_shows_itself_in_artifacts_that_are_renewed_and_leaves_a_report(
    undisturbed: Path, settings: tuple[str, ...]
) -> None:
    with sqlite3.connect(undisturbed / "logs" / "prefect.db") as db:
        rows = dict(db.execute("SELECT key, data FROM artifact").fetchall())
        times = db.execute("SELECT COUNT(*) FROM artifact WHERE key = 'synthesis-live'").fetchone()[0]
    assert times == 1  # one artifact, brought up to date, not a new one each time
    assert f"seeds done | {SEEDS} of {SEEDS}" in rows["synthesis-live"]
    assert float(rows["synthesis-synthesising"]) == 100
    assert {"synthesis-report", "synthesis-rejections"} <= set(rows)
    page, summary = (undisturbed / "report.html").read_text(), read_json(undisturbed / "summary.json")
    assert "<script" not in page
    assert f"{summary['items']['verified']}</div>" in page
    assert "✓ adds up" in page
    item = next(read_jsonl(undisturbed / "qa.jsonl"))
    code, printed = answer("synthesis", "trace", str(undisturbed), item["qa_id"], cache=undisturbed.parent)
    assert (code, "passed  replay" in printed) == (0, True)
    code, printed = answer("synthesis", *settings, "--run-dir", str(undisturbed), cache=undisturbed.parent)
    assert (code, "is finished" in printed) == (0, True)


@pytest.mark.flow
@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["local", "none"])
def test_a_seed_that_ends_its_worker_is_set_aside_after_three_tries_and_costs_only_itself(
    cluster: str, tmp_path: Path, cache: Path, request: pytest.FixtureRequest
) -> None:
    """One that exits instead of being killed: tests/synthesis/test_synthesis_run.py."""
    seeds = [*(f"year {1980 + n}" for n in range(7)), "poison kill", *(f"year {1990 + n}" for n in range(4))]
    (tmp_path / "seeds.json").write_text(json.dumps(seeds))
    arguments = {
        "environment_mode": "tests.synthesis.poison_world",
        "seeds": str(tmp_path / "seeds.json"),
        "seeds_per_shard": 4,
        "max_workers": 2,
        "max_depth": 3,
        "max_failure_rate": 0.2,
    } | ({"cluster": "none"} if cluster == "none" else {})
    environment: Environment = {} if cluster == "none" else request.getfixturevalue("on_running_server")
    options = [part for key, value in arguments.items() for part in ("--set", f"{key}={value}")]
    code, printed = run("synthesis", *options, "--run-dir", str(tmp_path / "run"), cache=cache, **environment)
    assert code == 0, printed
    assert "a worker process ended in the middle of a shard" in printed
    failures = {record["seed_data"]: record for record in read_jsonl(tmp_path / "run" / "failures.jsonl")}
    assert {name: record["reason"] for name, record in failures.items()} == {"poison kill": "seed_ends_worker"}
    trees = {record["seed_data"] for record in read_jsonl(tmp_path / "run" / "trees.jsonl")}
    assert trees == set(seeds) - set(failures)


def test_a_dry_run_estimates_and_touches_nothing(tmp_path: Path, cache: Path) -> None:
    code, said = answer(
        "synthesis", "--config", str(shipped("math")), "--run-dir", str(tmp_path / "run"), "--dry-run", cache=cache
    )
    assert code == 0
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
        (
            ["--set", "policy=chat", "--set", "chat.model={model: m, endpoints: [{base_url: 'http://127.0.0.1:9/v1'}]}"],
            "127.0.0.1:9",
        ),
        (["trace", "/nowhere", "qa_1"], "no finished synthesis run"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_code_2_and_nothing_is_started(
    arguments: list[str], said: str, tmp_path: Path, cache: Path
) -> None:
    extra = [] if arguments[0] == "trace" else ["--run-dir", str(tmp_path / "run")]
    code, printed = answer("synthesis", *arguments, *extra, cache=cache)
    assert code == 2
    assert said in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "run").exists()
