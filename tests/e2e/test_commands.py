"""The command line as a user meets it: wrong input, second runs, Ctrl-C, kills."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from millrace.run.journal import read_json, read_jsonl, write_json
from tests.e2e.commands import Command, answer, run
from tests.fixtures.running_services import Environment

pytestmark = [pytest.mark.flow, pytest.mark.timeout(600)]


def test_wrong_usage_is_one_sentence_and_starts_nothing(tmp_path: Path, cache: Path) -> None:
    cases = [
        (["--set", "probing.seeed=1"], "unknown key 'probing.seeed'; did you mean 'seed'?"),
        (["--set", "probing.torchrun.nproc_per_node=0"], "'probing.torchrun.nproc_per_node': input should be greater than 0"),
        (["--set", "probing.enabled_claims=[counting]"], "counting"),
        (["--set", "probing.baseline.name=embeded"], "no baseline named 'embeded'; did you mean 'embedded'?"),
        (["--set", f"probing.lake.path={tmp_path / 'none'}"], "there is no lake folder"),
        (["--set", f"probing.lake.path={tmp_path}"], "holds no .parquet file"),
        (["--config", str(tmp_path / "none.yaml")], "there is no config file"),
    ]
    for arguments, said in cases:
        code, printed = answer("probing", "--run-dir", str(tmp_path / "run"), *arguments, cache=cache)
        assert code == 2, printed
        assert said in printed
        assert len(printed.strip().splitlines()) == 1, printed
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_not_parquet_and_one_without_images_are_named(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "photo.parquet").write_text("not parquet")
    code, printed = answer("probing", "--set", f"probing.lake.path={tmp_path / 'lake'}", cache=cache)
    assert code == 2
    assert "photo.parquet is not a readable parquet file" in printed


def test_a_dry_run_prints_the_plan_and_touches_nothing(tmp_path: Path, cache: Path) -> None:
    started = time.monotonic()
    code, printed = answer("probing", "--run-dir", str(tmp_path / "run"), "--dry-run", cache=cache)
    assert code == 0
    assert "claims: 8 of set 'default'" in printed
    assert "ranks: 2" in printed
    assert list(tmp_path.iterdir()) == []
    assert time.monotonic() - started < 20


def test_probing_and_filtering_run_in_one_folder_and_say_when_they_are_finished(
    tmp_path: Path, cache: Path, coin_config: Path
) -> None:
    folder = tmp_path / "run"
    config = tmp_path / "probing.yaml"
    config.write_text(coin_config.read_text().split("filtering:")[0])
    code, printed = run("probing", "--config", str(config), "--run-dir", str(folder), "--set", "cluster=none", cache=cache)
    assert code == 0, printed
    quota = ("--set", "filtering.quota=5")
    code, printed = run("filtering", "--run-dir", str(folder), *quota, "--set", "cluster=none", cache=cache)
    assert code == 0, printed
    summary = read_json(folder / "filtering" / "summary.json")
    assert summary["in"] == summary["out"] + sum(summary["dropped"].values())
    kept = [record for shard in sorted((folder / "filtering").glob("shard-*.jsonl")) for record in read_jsonl(shard)]
    assert len(kept) == summary["out"] > 0

    code, printed = answer("probing", "--config", str(config), "--run-dir", str(folder), cache=cache)
    assert code == 0
    assert "is finished" in printed
    code, printed = answer("probing", "--config", str(config), "--run-dir", str(folder), "--set", "probing.seed=7", cache=cache)
    assert code == 2
    assert "probing.seed: 42 there, 7 now" in printed


def test_ctrl_c_ends_with_130_and_leaves_nothing_running(tmp_path: Path, cache: Path, coin_config: Path) -> None:
    config = tmp_path / "probing.yaml"
    config.write_text(coin_config.read_text().split("filtering:")[0].replace("coin_baseline}", "coin_baseline, slow_s: 0.3}"))
    folder = tmp_path / "run"
    command = Command("probing", "--config", str(config), "--run-dir", str(folder), cache=cache)
    deadline = time.monotonic() + 200
    while not list((folder / "probing" / "work").glob("unit-*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    command.interrupt()
    code, printed = command.finish(60)
    assert code == 130, printed
    assert "Traceback" not in printed
    command.wait_until_nothing_is_left()


def test_a_target_that_the_lake_cannot_fill_ends_with_3(
    tmp_path: Path, cache: Path, coin_config: Path, on_running_services: Environment
) -> None:
    config = tmp_path / "probing.yaml"
    config.write_text(coin_config.read_text().split("filtering:")[0])
    arguments = ("--config", str(config), "--run-dir", str(tmp_path / "run"), "--set", "probing.target_failure_count=100000")
    code, printed = run("probing", *arguments, cache=cache, **on_running_services)
    assert code == 3, printed
    summary = read_json(tmp_path / "run" / "probing" / "summary.json")
    assert summary["stop"] == "exhausted"
    assert summary["images"] == 80
    code, printed = answer("probing", *arguments, cache=cache)
    assert code == 3
    assert "short of its target" in printed


def test_filtering_without_outcomes_is_one_sentence(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "run" / "probing"
    folder.mkdir(parents=True)
    write_json(folder / "summary.json", {"lake": "x"})
    code, printed = answer("filtering", "--run-dir", str(tmp_path / "run"), cache=cache)
    assert code == 2, printed
    assert "there are no finished outcomes" in printed
