"""`cluster: none`: the command without Prefect and Dask keeps all that a run with them promises."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from millrace.run.journal import read_json
from tests.e2e.commands import Command, answer, run
from tests.e2e.records import records
from tests.e2e.services import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NONE = ("--set", "cluster=none")


@pytest.fixture(scope="module")
def without_prefect(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which nobody can import Prefect or Dask."""
    folder = tmp_path_factory.mktemp("none")
    for name in ("prefect", "prefect_dask", "distributed", "dask"):
        (folder / f"{name}.py").write_text(f"raise AssertionError('{name} was imported')\n")
    return {"PYTHONPATH": f"{folder}{os.pathsep}{Path(__file__).parents[2]}"}


@pytest.fixture(scope="module")
def slow_config(coin_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The main job in small, slow enough to be killed in its pool."""
    path = tmp_path_factory.mktemp("config") / "slow.yaml"
    path.write_text(coin_config.read_text().replace("coin_baseline}", "coin_baseline, slow_s: 0.05}"))
    return path


def test_ctrl_c_and_kill_minus_nine_leave_nothing_and_change_no_record(
    undisturbed: Path, tmp_path: Path, cache: Path, slow_config: Path, without_prefect: dict[str, str]
) -> None:
    """Ctrl-C while ranks are at work, `kill -9` while the pool is; then to the end, against an undisturbed run."""
    folder = tmp_path / "run"
    arguments = ("--config", str(slow_config), "--run-dir", str(folder), *NONE)
    command = Command("full", *arguments, cache=cache, **without_prefect)
    wait_for(lambda: any(folder.glob("probing/*/unit-*")), "sign of the ranks", 200)
    command.interrupt()
    code, printed = command.finish(60)
    assert (code, "Traceback" in printed) == (130, False), printed
    command.wait_until_nothing_is_left()

    command = Command("full", *arguments, cache=cache, **without_prefect)
    wait_for(lambda: any(folder.glob("qa/written/*")), "sign of the pool", 200)
    assert any("forkserver" in line for line in command.children().values())
    command.kill()
    assert command.wait_until_nothing_is_left() < 10

    code, printed = run("full", *arguments, cache=cache, **without_prefect)
    assert code == 0, printed
    assert "questions in" in printed
    code, printed = answer("full", *arguments, cache=cache)
    assert (code, "is finished" in printed) == (0, True)

    assert records(folder) == records(undisturbed)
    assert read_json(folder / "manifest.json")["flows"]["full"]["state"] == "finished"
    assert "qa is done" in (folder / "logs" / "flow.log").read_text()
    spent = json.loads((folder / "summary.json").read_text())["time"]
    assert spent["wall"] > spent["work"] > 0


def test_what_a_cluster_alone_can_do_is_refused_in_one_sentence(tmp_path: Path, cache: Path) -> None:
    cases = [
        (("--set", "probing.torchrun.nnodes=2"), "torchrun.nnodes is 2"),
        (("--set", "cluster.maximum_workers=4"), "without a cluster (none) only workers can be set"),
        (("--set", "cluster.address=tcp://127.0.0.1:9"), "address names a cluster that runs already"),
    ]
    for arguments, said in cases:
        code, printed = answer("full", "--run-dir", str(tmp_path / "run"), *NONE, *arguments, cache=cache)
        assert (code, said in printed) == (2, True), printed
    assert not (tmp_path / "run").exists()
